rule present_table:
    """Run a table's notebook on its results; keep it as notebook, page and table."""
    input:
        notebook=notebook_of_artefact,
        published=published_of_artefact,
        results=results_of_artefact,
        sources=sources_of_artefact,
        runs=runs_of_artefact,
        data=data_of_artefact,
        corrupted=corrupted_of_artefact,
    output:
        notebook="<results>/notebooks/{artefact}.ipynb",
        html="<results>/notebooks/{artefact}.html",
        csv="<results>/tables/{artefact}.csv",
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
        mem_mb=2000,
        runtime=30,
    params:
        description=description_shown,
        cells=cells_shown,
        scale=plan.settings.scale,
        version=RESULTS_VERSION,
    script:
        "../scripts/present.py"


use rule present_table as present_figure with:
    output:
        notebook="<results>/notebooks/{artefact}.ipynb",
        html="<results>/notebooks/{artefact}.html",
        pdf="<results>/figures/{artefact}.pdf",
        png="<results>/figures/{artefact}.png",
        svg="<results>/figures/{artefact}.svg",
    wildcard_constraints:
        artefact=artefacts_of_kind("figure"),
