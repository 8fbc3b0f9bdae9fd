"""Turn any list of labelled recordings into Lhotse manifests.

    python local/prepare_labelled.py --lists '[a.jsonl, b.csv]' --audio_root R --out_dir egs/osum/data/real/manifests/a

A list is JSON lines (also WeNet's raw lists) or a .csv or .tsv table with a header. Columns: path and text; if known
key, speaker, gender, language, words ([[word, start s, end s], ...]), age_group or age (in words or years), emotion,
style, event, answer, split, and start and end (s) of the part of the file that is meant. All other columns are kept in
`custom`. Null is unknown, and so is an empty cell of a table; `"text": ""` in JSON means: verified to hold no speech.
Labels stay as they are: stage 1 maps them by local/labels/<corpus>.yaml, where <corpus> is the name of `out_dir`.
"""

from labelled.config import LabelledConfig

from osum import config, log, outputs


def main() -> None:
    """Read the options and write the manifests, unless they are there."""
    cfg = config.load(LabelledConfig)
    with outputs.output_dir(cfg.out_dir, cfg, inputs=cfg.lists, overwrite=cfg.overwrite) as out_dir:
        if out_dir is not None:
            from labelled.manifests import write_manifests  # on use: it imports Lhotse, which takes seconds

            write_manifests(cfg, out_dir)


if __name__ == "__main__":
    log.run_main(main)
