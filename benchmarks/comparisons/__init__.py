"""The comparisons by name; each function prepares one and returns a `Comparison`. Modules are imported when one of theirs is asked for."""

WHERE = {
    "time_to_success": "attacking", "step_overhead": "attacking", "front_end": "network", "masking_threshold": "masking", "masking_step": "masking",
    "mp3": "codec", "mp3_ffmpeg": "codec", "adversarial_epoch": "training", "certification": "network", "data_epoch": "data", "data_first_epoch": "data",
    "speechadv --help": "starting", "import speechadv": "starting", "speechadv demo": "starting", "processes": "grid",
}
