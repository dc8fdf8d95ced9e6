// Checks keys, addresses, signatures and keystores against polkadot-js, whose formats they are, and
// the signatures of transactions, which wallets make with it.
//
//     npm install @polkadot/keyring@14.0.3 @polkadot/util-crypto@14.0.3
//     node polkadot.mjs [FOLDER [REGISTRY]]
//
// FOLDER and REGISTRY are `v1` and `registry` beside this file if none are given. Packages are found
// as Node finds them from here, or in NODE_PATH. Good vectors must give the same value in
// polkadot-js, and bad ones must be refused by it too, except where STRICTER says that ours are
// refused and theirs are not. Of transactions it sees the account's signature alone: those whose
// text is wrong are not looked at. The exit status is 1 if anything is otherwise.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Unlike `import`, `require` looks into NODE_PATH.
const require = createRequire(import.meta.url);
const { Keyring } = require('@polkadot/keyring');
const { u8aToHex, u8aWrapBytes, hexToU8a } = require('@polkadot/util');
const {
  cryptoWaitReady, decodeAddress, encodeAddress, isAddress, mnemonicToEntropy, sr25519Verify,
} = require('@polkadot/util-crypto');
const { entropyToMnemonic } = require('@polkadot/util-crypto/mnemonic/bip39');

// What polkadot-js takes and we do not, with the reason. An entry that it refuses is an error too.
const STRICTER = {
  'addresses/bad/key-not-a-point.json': 'it does not look at the key in an address',
  'addresses/bad/key-of-33-bytes.json': 'it has addresses of ECDSA keys too',
  'addresses/bad/zero-key.json': 'it does not look at the key in an address',
  'keys/bad/uri-4097-bytes.json': 'it has no bound',
  'keys/bad/uri-not-a-phrase.json': 'it pads any short text with spaces to a seed',
  'keystores/bad/not-encrypted.json': 'it believes a second field instead of the first',
  'keystores/bad/other-address.json': 'it does not compare the address with the key',
  'keystores/bad/too-long.json': 'it has no bound',
  'keystores/bad/version-2.json': 'it reads the older version too',
};

const keyring = new Keyring({ type: 'sr25519', ss58Format: 42 });
const value = (publicKey) => ({
  address: encodeAddress(publicKey, 42), public: u8aToHex(publicKey),
});

const CHECKS = {
  addresses({ address }, { prefix }) {
    const key = decodeAddress(address, false, prefix);
    if (!isAddress(address) || encodeAddress(key, prefix) !== address) {
      throw new Error('encoding the key again gives another address');
    }
    return { public: u8aToHex(key) };
  },
  keys({ uri, phrase, entropy }) {
    if (uri !== undefined) return value(keyring.createFromUri(uri).publicKey);
    if (phrase !== undefined) return { entropy: u8aToHex(mnemonicToEntropy(phrase)) };
    return { phrase: entropyToMnemonic(hexToU8a(entropy)) };
  },
  keystores(file, { password }) {
    const pair = keyring.createFromJson(file);
    pair.decodePkcs8(password);
    const message = new Uint8Array([1, 2, 3]);
    if (!sr25519Verify(message, pair.sign(message), pair.publicKey)) {
      throw new Error('the key does not sign');
    }
    return value(pair.publicKey);
  },
  signatures({ public: key, message, signature }) {
    if (!sr25519Verify(hexToU8a(message), hexToU8a(signature), hexToU8a(key))) {
      throw new Error('it does not verify');
    }
    return { verifies: true };
  },
};

const same = (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());

function outcome(check, path, given) {
  try {
    return { value: check(JSON.parse(readFileSync(path, 'utf8')), given) };
  } catch (error) {
    return { refused: String(error?.message ?? error) };
  }
}

// A transaction is a signature and the text that it is of; the account is in the third line.
function transaction(path) {
  const bytes = readFileSync(path);
  const [signature, text] = [bytes.subarray(0, 64), bytes.subarray(64).toString('utf8')];
  const [name, address] = text.split('\n')[2].split(': ');
  if (name !== 'account') throw new Error('there is no account in the third line');
  const key = decodeAddress(address, false, 42);
  try {
    return sr25519Verify(u8aWrapBytes(text), signature, key);
  } catch {
    // Signatures that are none, as one without its marker, are refused by an error.
    return false;
  }
}

await cryptoWaitReady();
const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? join(here, 'v1');
const registry = process.argv[3] ?? join(here, 'registry');
let [right, wrong] = [0, 0];
function count(name, fits, said) {
  console.log(`${name}: ${fits ? said : `WRONG: ${said}`}`);
  if (fits) right += 1; else wrong += 1;
}
for (const [kind, check] of Object.entries(CHECKS)) {
  const index = JSON.parse(readFileSync(join(folder, kind, 'index.json'), 'utf8'));
  for (const side of ['good', 'bad']) {
    for (const [file, entry] of Object.entries(index[side])) {
      const { value, refused } = outcome(check, join(folder, kind, side, file), entry.given);
      const name = `${kind}/${side}/${file}`;
      const stricter = side === 'bad' ? STRICTER[name] : undefined;
      let [fits, said] = [value !== undefined && same(value, entry.value ?? {}), 'accepted'];
      if (stricter !== undefined) {
        [fits, said] = [refused === undefined, `accepted by polkadot-js, refused by us: ${stricter}`];
      } else if (side === 'bad') {
        [fits, said] = [refused !== undefined, `refused: ${entry.why}`];
      }
      if (!fits) said = `${refused ?? JSON.stringify(value)}, expected ${JSON.stringify(entry)}`;
      count(name, fits, said);
    }
  }
}

const index = JSON.parse(readFileSync(join(registry, 'transactions/index.json'), 'utf8'));
for (const side of ['good', 'bad']) {
  for (const [file, entry] of Object.entries(index[side])) {
    if (entry.of === 'text') continue;
    // The word of a node key is not the account's signature, which holds there.
    const expected = side === 'good' || entry.error === 'node';
    const name = `transactions/${side}/${file}`;
    const holds = transaction(join(registry, name));
    const said = holds ? 'the account signed it' : `the account did not sign it: ${entry.why}`;
    count(name, holds === expected, said);
  }
}
console.log(`${right} as they should be, ${wrong} not`);
process.exitCode = wrong > 0 || right === 0 ? 1 : 0;
