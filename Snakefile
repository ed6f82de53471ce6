# Lapwing: every table and figure, from official files to one report.
#
#   snakemake --cores all                         every artefact, at the scale of config.yaml
#   snakemake table_1 --cores all                 one artefact
#   snakemake --cores all --config scale=paper    the published size


configfile: "config.yaml"


# What the rules share.
include: "rules/plan.smk"  # settings, studies, selection, folders
include: "rules/containers.smk"
include: "rules/cluster.smk"
include: "rules/datasets.smk"
include: "rules/studies.smk"
include: "rules/artefacts.smk"
include: "rules/targets.smk"
# The rules, in the order in which data go through them, and what is said at the end.
include: "rules/download.smk"
include: "rules/prepare.smk"
include: "rules/corrupt.smk"
include: "rules/train.smk"
include: "rules/aggregate.smk"
include: "rules/excerpt.smk"
include: "rules/present.smk"
include: "rules/report.smk"
include: "rules/summary.smk"


check_artefacts(rule.name for rule in workflow.rules)


rule all:
    default_target: True
    input:
        rules.report.output,


# One target per artefact: `snakemake table_1`.
for artefact in plan.artefacts:

    rule:
        name:
            artefact
        input:
            files_of(artefact),


check_targets()
