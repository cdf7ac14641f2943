"""The items of CLAIM and TRIPOD+AI with what a run can say about them; what it cannot stays blank.

Numbers follow the CLAIM 2024 Update (Tejani et al., Radiology: AI 2024; 44 items) and TRIPOD+AI (Collins
et al., BMJ 2024; 27 items). The short titles are ours: the published checklists have the wording that
counts, and a person has to check every line.
"""

from collections.abc import Mapping, Sequence

from residency.evaluate.charts import text

Item = tuple[str, str, str]  # number, short title, the fact that fills it ('' for none)

CLAIM: Sequence[Item] = (
    ("1", "Title names the AI method", "method"),
    ("2", "Structured abstract", ""),
    ("3", "Background, intended use and role", ""),
    ("4", "Aims and hypotheses", ""),
    ("5", "Prospective or retrospective", ""),
    ("6", "Study goal", ""),
    ("7", "Data sources", "sources"),
    ("8", "Inclusion and exclusion criteria", "left_out"),
    ("9", "Preprocessing", "preprocessing"),
    ("10", "Selection of data subsets", "limit"),
    ("11", "De-identification", ""),
    ("12", "Missing data", "missing"),
    ("13", "Image acquisition protocol", "modality"),
    ("14", "How the reference standard was obtained", ""),
    ("15", "Why this reference standard", ""),
    ("16", "Source of its annotations", ""),
    ("17", "Annotation of the test set", ""),
    ("18", "Variability between and within raters", ""),
    ("19", "How data were assigned to partitions", "partitions"),
    ("20", "Level at which partitions are disjoint", "disjoint"),
    ("21", "Intended sample size", "power"),
    ("22", "Model", "model"),
    ("23", "Software", "software"),
    ("24", "Initial parameters", "base"),
    ("25", "Training", "training"),
    ("26", "Selection of the final model", "selection"),
    ("27", "Ensembling", "ensemble"),
    ("28", "Metrics", "metrics"),
    ("29", "Significance and uncertainty", "statistics"),
    ("30", "Robustness and sensitivity", "controls"),
    ("31", "Explainability", ""),
    ("32", "Evaluation on internal data", "internal"),
    ("33", "Testing on external data", "external"),
    ("34", "Trial registration", ""),
    ("35", "Numbers included and excluded", "counts"),
    ("36", "Characteristics of cases in each partition", "subgroups"),
    ("37", "Performance with its uncertainty", "performance"),
    ("38", "Diagnostic performance and its precision", "performance"),
    ("39", "Failure analysis", "failures"),
    ("40", "Limitations", ""),
    ("41", "Implications for practice", ""),
    ("42", "Study protocol and technical details", "command"),
    ("43", "Availability of software, model, data", "availability"),
    ("44", "Funding and the role of funders", ""),
)

TRIPOD_AI: Sequence[Item] = (
    ("1", "Title", "method"),
    ("2", "Abstract", ""),
    ("3a", "Health-care context", ""),
    ("3b", "Target population and users", ""),
    ("3c", "Known health inequalities", ""),
    ("4", "Objectives", ""),
    ("5a", "Sources of data", "sources"),
    ("5b", "Dates", ""),
    ("6a", "Setting", ""),
    ("6b", "Eligibility", "left_out"),
    ("6c", "Treatments", ""),
    ("7", "Data preparation", "preprocessing"),
    ("8a", "Outcome", "outcome"),
    ("8b", "Who assessed the outcome", ""),
    ("8c", "Blinding of the assessment", ""),
    ("9a", "Choice of predictors", ""),
    ("9b", "Definition of predictors", "modality"),
    ("9c", "Who assessed the predictors", ""),
    ("10", "Sample size", "power"),
    ("11", "Missing data", "missing"),
    ("12a", "How data were used", "partitions"),
    ("12b", "Handling of predictors", "preprocessing"),
    ("12c", "Type of model and its building", "training"),
    ("12d", "Heterogeneity between clusters", ""),
    ("12e", "Measures of performance", "metrics"),
    ("12f", "Model updating", ""),
    ("12g", "How predictions were computed", "inference"),
    ("13", "Class imbalance", "balance"),
    ("14", "Fairness", "subgroups"),
    ("15", "Model output", "outcome"),
    ("16", "Differences of training and evaluation data", ""),
    ("17", "Ethical approval", ""),
    ("18a", "Funding", ""),
    ("18b", "Conflicts of interest", ""),
    ("18c", "Protocol", "command"),
    ("18d", "Registration", ""),
    ("18e", "Data sharing", ""),
    ("18f", "Code sharing", "software"),
    ("19", "Patient and public involvement", ""),
    ("20a", "Flow of participants", "counts"),
    ("20b", "Characteristics", "subgroups"),
    ("20c", "Comparison with development data", ""),
    ("21", "Numbers in each analysis", "counts"),
    ("22", "Full model", "model"),
    ("23a", "Performance with intervals", "performance"),
    ("23b", "Heterogeneity of performance", "subgroups"),
    ("24", "Results of updating", ""),
    ("25", "Interpretation", ""),
    ("26", "Limitations", ""),
    ("27a", "Poor or missing input", ""),
    ("27b", "Interaction and expertise of users", ""),
    ("27c", "Next steps", ""),
)
LISTS = {"CLAIM 2024 Update": CLAIM, "TRIPOD+AI": TRIPOD_AI}


def filled(items: Sequence[Item], facts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Every item with what the run says about it, '' where it says nothing."""
    return [(number, title, facts.get(key, "")) for number, title, key in items]


def checklists(facts: Mapping[str, str]) -> str:
    """Both lists, folded, with blanks that stand out and are counted."""
    parts = [
        '<p class="note">What this run can say, item by item; the rest is for its authors. The short '
        "titles are ours, the published checklists have the wording that counts. A filled line is a "
        "draft: check it.</p>"
    ]
    for name, items in LISTS.items():
        lines = filled(items, facts)
        done = sum(bool(said) for _, _, said in lines)
        body = "".join(
            f'<tr><td>{number}</td><th scope="row">{text(title)}</th>'
            f"<td{'' if said else f' class={chr(34)}blank{chr(34)}'}>"
            f"{text(said) or 'to be written'}</td></tr>"
            for number, title, said in lines
        )
        parts.append(
            f"<details><summary>{text(name)}: {done} of {len(lines)} lines drafted</summary>"
            '<div class="scroll" tabindex="0"><table class="checklist"><thead><tr>'
            '<th scope="col">item</th><th scope="col">about</th><th scope="col">this run</th></tr>'
            f"</thead><tbody>{body}</tbody></table></div></details>"
        )
    return "".join(parts)
