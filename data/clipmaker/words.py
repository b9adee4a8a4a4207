"""The words that are spoken, how Kokoro is told to say them, and what the recogniser may hear instead."""

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

# Other words of the Speech Commands vocabulary, chosen for variety in length and sound.
OTHER_WORDS = (
    "bird", "cat", "dog", "eight", "four", "happy", "house", "marvin", "nine", "seven", "sheila", "six", "three", "visual", "wow", "zero",
)

# What the recogniser can choose from beside those: the rest of the vocabulary, and words that sound like a keyword, so that a keyword
# spoken badly has somewhere else to go. Homophones of a keyword (know, write) would only be a coin toss and are left out; so is
# "of", which running speech swallows so far that the model takes any short "up" for it.
DECOYS = (
    "backward", "bed", "five", "follow", "forward", "learn", "one", "tree", "two",
    "all", "cup", "dawn", "ghost", "goat", "gown", "guess", "laugh", "lap", "let", "nor", "odd", "own", "rate", "ride", "rise",
    "step", "stock", "though", "top", "town",
)  # fmt: skip

# General American, in the symbols of Kokoro's vocabulary: A, I, O, W are the vowels of "eight", "right", "go", "down"; Q is the British "go".
AMERICAN = {
    "yes": "jˈɛs", "no": "nˈO", "up": "ˈʌp", "down": "dˈWn", "left": "lˈɛft", "right": "ɹˈIt", "on": "ˈɑn", "off": "ˈɔf",
    "stop": "stˈɑp", "go": "ɡˈO",
    "bird": "bˈɜɹd", "cat": "kˈæt", "dog": "dˈɔɡ", "eight": "ˈAt", "four": "fˈɔɹ", "happy": "hˈæpi", "house": "hˈWs",
    "marvin": "mˈɑɹvən", "nine": "nˈIn", "seven": "sˈɛvən", "sheila": "ʃˈilə", "six": "sˈɪks", "three": "θɹˈi", "visual": "vˈɪʒəwəl",
    "wow": "wˈW", "zero": "zˈɪɹO",
}  # fmt: skip

BRITISH = AMERICAN | {
    "no": "nˈQ", "on": "ˈɒn", "off": "ˈɒf", "stop": "stˈɒp", "go": "ɡˈQ",
    "bird": "bˈɜːd", "dog": "dˈɒɡ", "four": "fˈɔː", "marvin": "mˈɑːvɪn", "sheila": "ʃˈiːlə", "three": "θɹˈiː", "zero": "zˈɪəɹQ",
}  # fmt: skip
