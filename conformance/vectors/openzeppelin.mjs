// Checks a tree of earnings, as `adit audit rewards --export FILE` writes it, with the library whose
// format it is.
//
//     npm install @openzeppelin/merkle-tree@1.0.8
//     node openzeppelin.mjs FILE
//
// Packages are found as Node finds them from here, or in NODE_PATH. The library must load the tree,
// find it whole, make the same one of its values alone, and take a proof of each. The root and the
// number of accounts are printed; the exit status is 1 if anything is otherwise.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Unlike `import`, `require` looks into NODE_PATH.
const require = createRequire(import.meta.url);
const { StandardMerkleTree } = require('@openzeppelin/merkle-tree');

const dumped = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const tree = StandardMerkleTree.load(dumped);
tree.validate();
const values = [...tree.entries()].map(([, value]) => value);
const made = StandardMerkleTree.of(values, ['bytes32', 'uint256']);
const proven = values.every((value, at) => {
  const proof = tree.getProof(at);
  return StandardMerkleTree.verify(made.root, ['bytes32', 'uint256'], value, proof);
});
const same = JSON.stringify(made.dump().tree) === JSON.stringify(dumped.tree);
console.log(`${tree.root} ${values.length} accounts`);
process.exit(same && proven && values.length > 0 ? 0 : 1);
