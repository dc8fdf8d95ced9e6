// Makes a component of a task in JavaScript. Written and run by `adit build`:
//
//     node componentize.mjs SOURCE WIT WORLD COMPONENT

import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, worldName, out] = process.argv.slice(2);
try {
  const { component } = await componentize({
    sourcePath,
    witPath,
    worldName,
    // A task has no network. With the others, Math.random follows the run's seed, Date its virtual
    // clock, and console its log; what a task does not use costs it nothing.
    disableFeatures: ['http', 'fetch-event'],
  });
  await writeFile(out, component);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
