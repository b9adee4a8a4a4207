"""Black boxes: a command or an HTTP address that hears 16-bit WAV files and answers with labels, with or without scores."""
