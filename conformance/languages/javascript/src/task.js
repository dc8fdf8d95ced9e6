// The whole contract from JavaScript; see ../../README.md.

import { emit, progress } from 'adit:task/host@0.1.0';
import { loadByName } from 'wasi:nn/graph@0.2.0-rc-2024-10-28';
import { Tensor } from 'wasi:nn/tensor@0.2.0-rc-2024-10-28';

export function run(input) {
  const text = new TextDecoder().decode(input);
  if (text === 'fail') {
    emit(new TextEncoder().encode('before '));
    throw { code: 42, message: 'as asked' };
  }
  progress(1n, 2n, 'begun');
  line(`input ${text}`);
  line(`double ${double()}`);
  line(`absent ${absent()}`);
  const [earlier, later] = [performance.now(), performance.now()];
  line(`clock ${Math.floor(Date.now() / 1000)} ${later > earlier ? 'rising' : 'still'}`);
  const bytes = Array.from({ length: 8 }, () => Math.floor(Math.random() * 256));
  line(`random ${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')}`);
  progress(2n, 2n, 'done');
  return new TextEncoder().encode('done\n');
}

function line(text) {
  emit(new TextEncoder().encode(`${text}\n`));
}

function double() {
  const context = loadByName('double').initExecutionContext();
  const data = new Uint8Array(Float32Array.of(1.5, -2).buffer);
  const [[name, y]] = context.compute([['x', new Tensor(Uint32Array.of(2), 'FP32', data)]]);
  if (name !== 'y') throw new Error(`an output named ${name}`);
  // A copy, since the bytes need not lie where floats may.
  const floats = new Float32Array(Uint8Array.from(y.data()).buffer);
  return `[${y.dimensions().join(', ')}] ${y.ty()} ${floats.join(' ')}`;
}

function absent() {
  try {
    loadByName('absent');
  } catch (error) {
    return error.payload.code();
  }
  return 'loaded';
}
