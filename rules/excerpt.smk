from lapwing.results import RESULTS_VERSION


rule excerpt:
    """Take the records that a figure shows, as the learner saw them."""
    input:
        sources=sources_of_artefact,
        runs=runs_of_artefact,
        data=data_of_artefact,
        corrupted=corrupted_of_artefact,
    output:
        "<results>/excerpts/{artefact}.safetensors",
    log:
        "<logs>/excerpt/{artefact}.log",
    benchmark:
        "<logs>/excerpt/{artefact}.tsv"
    wildcard_constraints:
        artefact=artefacts_with_records(),
    container:
        "containers/train.sif"
    threads: 1
    resources:
        **on_cpus,
        mem_mb=megabytes(2000),
        runtime=minutes(10),
    params:
        cells=cells_shown,
        asked=asked_of_artefact,
        version=RESULTS_VERSION,
    script:
        "../scripts/excerpt.py"
