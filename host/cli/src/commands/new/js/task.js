// The task: a function from bytes to bytes. `.adit/wit` says what there is to import.

import { progress } from 'adit:task/host@0.1.0';
import { NOT_A_NUMBER, SummaryError, summary } from './summary.js';

/**
 * What is thrown as `{ code, message }` is an answer too: every machine gives the same one for the
 * same input.
 */
export function run(input) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(input);
  } catch {
    throw { code: NOT_A_NUMBER, message: 'the input is not UTF-8' };
  }
  try {
    return new TextEncoder().encode(summary(text, report));
  } catch (error) {
    if (error instanceof SummaryError) {
      throw { code: error.code, message: error.message };
    }
    throw error;
  }
}

// Shown to whoever waits. `emit(bytes)` would give them a part of the output already.
function report(done, total) {
  progress(BigInt(done), BigInt(total), 'lines read');
}
