"""The comparisons by name; each function prepares one and returns a `Comparison`. Modules are imported when one of theirs is asked for."""

WHERE = {
    "time_to_success": "attacking", "step_overhead": "attacking", "step_overhead_unfolded": "attacking", "front_end": "network",
    "masking_threshold": "masking", "masking_step": "masking", "mp3": "codec", "mp3_ffmpeg": "codec", "adversarial_epoch": "training",
    "adversarial_epoch_input_only": "training", "certification": "network", "data_epoch": "data", "data_first_epoch": "data",
    "speechadv --help": "starting", "import speechadv": "starting", "speechadv demo": "starting", "processes": "grid",
}
ON_DEVICE = tuple(name for name, module in WHERE.items() if module in ("attacking", "network", "masking", "training"))  # run a network or tensors, on a GPU too
