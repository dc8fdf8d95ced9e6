// Sums up numbers, one on each line of a text. Nothing here needs the sandbox.

// The codes of this task's errors, for programs.
export const NOT_A_NUMBER = 16;
export const NO_NUMBERS = 17;

/** Why there is no summary. */
export class SummaryError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Count, sum, mean and extremes of the numbers in `text`, as lines. */
export function summary(text, progress = (_done, _total) => {}) {
  const lines = text.split('\n');
  const numbers = [];
  for (const [at, whole] of lines.entries()) {
    if (at % 10_000 === 0) progress(at, lines.length);
    const line = whole.trim();
    if (line === '') continue;
    const number = Number(line);
    if (Number.isNaN(number)) {
      throw new SummaryError(NOT_A_NUMBER, `line ${at + 1} is not a number: ${line}`);
    }
    numbers.push(number);
  }
  if (numbers.length === 0) {
    throw new SummaryError(NO_NUMBERS, 'there are no numbers in the input');
  }
  const sum = numbers.reduce((a, b) => a + b, 0);
  const smallest = numbers.reduce((a, b) => Math.min(a, b));
  const largest = numbers.reduce((a, b) => Math.max(a, b));
  return [
    `count ${numbers.length}`,
    `sum ${sum}`,
    `mean ${sum / numbers.length}`,
    `smallest ${smallest}`,
    `largest ${largest}`,
    '',
  ].join('\n');
}
