"""What a scrape says."""

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

Figures = dict[str, dict[tuple[tuple[str, str], ...], float]]


def parse(scraped: bytes) -> Figures:
    """Values by the name of a sample and its sorted labels."""
    figures: Figures = defaultdict(dict)
    for family in text_string_to_metric_families(scraped.decode()):
        for sample in family.samples:
            figures[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return figures


def total(figures: Figures, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    return sum(value for found, value in figures.get(name, {}).items() if labels.items() <= dict(found).items())
