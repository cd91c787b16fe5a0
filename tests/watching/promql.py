"""What is wrong with an expression of PromQL, as far as such as stand in ops/ go."""

import re

_STRING = r'"[^"\\]*"'
_RANGE = r"\[(?:\d+[smhd]|\$__rate_interval)\]"
_TOKEN = rf"\s|{_STRING}|{_RANGE}|\d+(?:\.\d+)?|[a-z_][a-z0-9_]*|=~|!~|==|!=|>=|<=|[=<>/*+-]|[()\{{\}},]"
_COUNTER = r"[a-z_]+(?:_total|_bucket|_count|_sum)(?:\{[^}]*\})?"
_FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile"}
# What Prometheus adds by itself.
_ITS_OWN_METRICS, _ITS_OWN_LABELS = {"up"}, {"job", "instance"}

Labels = dict[str, set[str]]


def wrong_with(expression: str, labels_of: Labels) -> list[str]:
    """In words; nothing when it is right.

    Args:
        labels_of: the names of the labels of each metric that there is.
    """
    if not re.fullmatch(f"(?:{_TOKEN})+", expression):
        return ["not PromQL"]
    bare = re.sub(_STRING, '""', expression)
    return [*_unclosed(bare), *_unknown(bare, labels_of), *_misused(bare), *_unlabelled(bare, labels_of)]


def _unclosed(bare: str) -> list[str]:
    rest, before = re.sub(r"[^(){}]", "", bare), None
    while rest != before:
        rest, before = re.sub(r"\(\)|\{\}", "", rest), rest
    return [f"{rest} is not closed or closes nothing"] if rest else []


def _unknown(bare: str, labels_of: Labels) -> list[str]:
    without_labels = re.sub(rf"\{{[^}}]*\}}|\bby \([^)]*\)|{_RANGE}", "", bare)
    names = set(re.findall(r"[a-z_][a-z0-9_]*", without_labels)) - _FUNCTIONS - _ITS_OWN_METRICS - set(labels_of)
    return [f"{name} is no metric" for name in sorted(names)]


def _misused(bare: str) -> list[str]:
    right = len(re.findall(rf"\b(?:rate|increase)\({_COUNTER}{_RANGE}\)", bare))
    wrong = []
    if not right == len(re.findall(r"\b(?:rate|increase)\b", bare)) == bare.count("["):
        wrong.append("rate and increase are for a range of a counter, and a range for them")
    if re.search(r"\b(?:sum|max|histogram_quantile)\b(?!\(| by \([a-z_, ]+\) \()", bare):
        wrong.append("an aggregation of nothing")
    return wrong


def _unlabelled(bare: str, labels_of: Labels) -> list[str]:
    wrong = []
    for metric, inside in re.findall(r"([a-z_]+)\{([^}]*)\}", bare):
        for label in re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", inside):
            if label not in labels_of.get(metric, set()) | _ITS_OWN_LABELS:
                wrong.append(f"{metric} has no label {label}")
    used = {label for metric, labels in labels_of.items() if re.search(rf"\b{metric}\b", bare) for label in labels}
    for grouped in re.findall(r"\bby \(([^)]*)\)", bare):
        wrong += [f"nothing has the label {label}" for label in re.split(r",\s*", grouped) if label not in used]
    return wrong
