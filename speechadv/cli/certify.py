"""speechadv certify"""
from pathlib import Path

import click

from .common import Voice, device_option, json_option, model_option, out_option, quiet_option, seed_option, shard_option
from .engines import chosen_engine, engine_options, stopped, tell_failures


@click.command("certify", epilog="Example: speechadv certify --model resnet --sigma 0.0025 --clips 12 -n 1000 --out runs/certificates")
@out_option
@model_option
@click.option("--sigma", type=float, default=0.0025, show_default=True, help="Standard deviation of the noise, as a fraction of full scale.")
@click.option("-n", "--n", "n", type=click.IntRange(1), default=10_000, show_default=True, help="Draws that prove a radius.")
@click.option("--n0", type=click.IntRange(1), default=100, show_default=True, help="Draws that choose the label.")
@click.option("--alpha", type=float, default=0.001, show_default=True, help="The chance that a certificate is wrong, at most.")
@click.option("--task", default="v2-12", show_default=True)
@click.option("--split", default="test", show_default=True)
@click.option("--clips", type=click.IntRange(1), help="A stratified part of the split; all of it by default.")
@click.option("--clip-list", type=click.Path(dir_okay=False), help="A file of clip names, one a line.")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Noisy clips in one call; changes the speed alone.")
@shard_option
@click.option("--trust-model-file", is_flag=True, help="Load TorchScript or torch.export models: that runs code from the file.")
@engine_options
@seed_option
@device_option
@json_option
@quiet_option
def command(out, model, sigma, n, n0, alpha, task, split, clips, clip_list, batch_size, shard, trust_model_file, engine, address,
            cores, gpus, seed, device, as_json, quiet):
    """Prove around each clip a ball in which no perturbation changes what the smoothed network hears.

    Randomised smoothing (Cohen et al. 2019): the network hears each clip N times under white noise and takes the vote. OUT holds certificates.jsonl,
    a line a clip, and certified.csv, certified accuracy over the radius. A stopped run goes on when the same command is given again.
    """
    from ..evaluation.certification import CertificationConfig
    from ..evaluation.shards import parse_shard
    from .common import check_writable, checked_device

    voice = Voice(as_json, quiet)
    config = CertificationConfig(model, sigma, n, n0, alpha, task, split, seed, clips, clip_list)
    part = parse_shard(shard)
    check_writable(out)
    checked_device(device)
    from ..evaluation.certification import certify

    try:
        result = certify(config, Path(out), batch_size=batch_size, device=device, trust=trust_model_file, bar=voice.bar, notice=voice.notice, shard=part,
                         engine=chosen_engine(engine, address, cores, gpus, voice))
    except KeyboardInterrupt:
        stopped()
    show(voice, result, out)
    voice.document(result)
    tell_failures(result.get("failed", 0), "clips", out)


def show(voice: Voice, result: dict, out: Path) -> None:
    """The figures in words, each rate beside its interval and its number of clips."""
    from ..errors import shown

    voice.say(f"{result['right']} of {result['clips']} clips right under noise of {result['sigma']:g} ({result['accuracy']:.1%}, 95 % interval "
              f"{result['accuracy_low']:.1%} to {result['accuracy_high']:.1%}); {result['abstained']} abstentions")
    if result["radius_median"] is not None:
        loud = "" if result["snr_db_median"] is None else f", an SNR of {result['snr_db_median']:.1f} dB"
        voice.say(f"median certified radius {result['radius_median']:.4f} (L2 of samples in [-1, 1){loud}); {result['at_ceiling']} of {result['right']} stand at "
                  f"{result['ceiling']:.4f}, the most that {result['n']:,} draws can prove")
    voice.say(f"certificates: {shown(out / 'certificates.jsonl')}, curve: certified.csv")
    voice.advise(("a figure", ("plot", "certified", out)))
