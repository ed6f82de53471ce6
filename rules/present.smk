from lapwing.results import RESULTS_VERSION

LABELS = {"artefact": "{artefact}"}  # in Snakemake's own report


rule present_table:
    """Run a table's notebook on its results; keep it as notebook, page and table."""
    input:
        notebook=notebook_of_artefact,
        published=published_of_artefact,
        results=results_of_artefact,
        sources=sources_of_artefact,
        runs=runs_of_artefact,
        excerpt=excerpt_of_artefact,
    output:
        notebook="<results>/notebooks/{artefact}.ipynb",
        html=report("<results>/notebooks/{artefact}.html", category="Notebooks", labels=LABELS),
        csv=report("<results>/tables/{artefact}.csv", category="Tables", labels=LABELS),
        md="<results>/tables/{artefact}.md",
        tex="<results>/tables/{artefact}.tex",
    log:
        "<logs>/present/{artefact}.log",
    benchmark:
        "<logs>/present/{artefact}.tsv"
    wildcard_constraints:
        artefact=artefacts_of_kind("table"),
    container:
        "containers/present.sif"
    threads: 1
    resources:
        **on_cpus,
        mem_mb=megabytes(2000),
        runtime=minutes(10),
    params:
        description=description_shown,
        cells=cells_shown,
        asked=asked_of_artefact,
        scale=plan.settings.scale,
        version=RESULTS_VERSION,
    script:
        "../scripts/present.py"


use rule present_table as present_figure with:
    output:
        notebook="<results>/notebooks/{artefact}.ipynb",
        html=report("<results>/notebooks/{artefact}.html", category="Notebooks", labels=LABELS),
        pdf="<results>/figures/{artefact}.pdf",
        png=report("<results>/figures/{artefact}.png", category="Figures", labels=LABELS),
        svg="<results>/figures/{artefact}.svg",
    wildcard_constraints:
        artefact=artefacts_of_kind("figure"),
