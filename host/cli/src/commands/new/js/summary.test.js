import assert from 'node:assert/strict';
import test from 'node:test';
import { NO_NUMBERS, NOT_A_NUMBER, summary } from '../src/summary.js';

test('numbers are summed up', () => {
  assert.equal(summary('1\n2\n\n6\n'), 'count 3\nsum 9\nmean 3\nsmallest 1\nlargest 6\n');
});

test('anything else is an error that names the line', () => {
  const message = 'line 2 is not a number: two';
  assert.throws(() => summary('1\ntwo\n'), { code: NOT_A_NUMBER, message });
  assert.throws(() => summary(''), { code: NO_NUMBERS });
});
