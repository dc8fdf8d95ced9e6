"""Sums up numbers, one on each line of a text. Nothing here needs the sandbox."""


class NotANumber(Exception):
    """A line that is not a number."""


class NoNumbers(Exception):
    """A text without any."""


def summary(text, progress=lambda done, total: None):
    """Count, sum, mean and extremes of the numbers in `text`, as lines."""
    numbers = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if at % 10_000 == 0:
            progress(at, len(lines))
        line = line.strip()
        if not line:
            continue
        try:
            numbers.append(float(line))
        except ValueError:
            raise NotANumber(f"line {at + 1} is not a number: {line}") from None
    if not numbers:
        raise NoNumbers("there are no numbers in the input")
    total = sum(numbers)
    facts = {
        "count": len(numbers),
        "sum": total,
        "mean": total / len(numbers),
        "smallest": min(numbers),
        "largest": max(numbers),
    }
    return "".join(f"{what} {written(number)}\n" for what, number in facts.items())


def written(number):
    """The shortest form that reads as the same number: `9`, not `9.0`."""
    return repr(number).removesuffix(".0")
