//! A list of calls of `wasi_ephemeral_nn`, and a program that makes them.

use std::path::{Path, PathBuf};

use crate::support::{Home, Said};

/// What [`Script`] plays.
const PLAYER: &str = include_str!("player.wat");
/// Where the player has its input, the calls in it, and what they point to.
pub const IMAGE: u32 = 0x1_0000;
pub const CALLS: u32 = IMAGE + 4;
pub const DATA: u32 = 0x4_0000;
/// The number of a function, or its errno, and five arguments.
pub const CALL_BYTES: u32 = 24;

/// The errno of a call that did what it was asked.
pub const SUCCESS: u32 = 0;

/// The type of numbers that most tensors here have.
pub const F32: u32 = 1;

/// Calls of `wasi_ephemeral_nn` in their order, and the memory that they refer to.
#[derive(Default)]
pub struct Script {
    calls: Vec<[u32; 6]>,
    /// The errno of each call.
    expected: Vec<u32>,
    /// What is at [`DATA`].
    data: Vec<u8>,
    /// Addresses in it, and what is there after all calls.
    answers: Vec<(u32, Vec<u8>)>,
}

impl Script {
    /// Puts bytes into memory. Returns where.
    pub fn put(&mut self, bytes: &[u8]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        let at = DATA + u32::try_from(self.data.len()).unwrap();
        self.data.extend_from_slice(bytes);
        at
    }

    pub fn put_words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    /// Space whose content after all calls is known.
    pub fn answer(&mut self, bytes: &[u8]) -> u32 {
        let at = self.put(&vec![0xee; bytes.len()]);
        self.answers.push((at, bytes.to_vec()));
        at
    }

    pub fn call(&mut self, function: u32, args: &[u32], errno: u32) {
        let mut call = [0; 6];
        call[0] = function;
        call[1..=args.len()].copy_from_slice(args);
        self.calls.push(call);
        self.expected.push(errno);
    }

    pub fn load(&mut self, model: &[u8], encoding: u32, target: u32, errno: u32, graph: u32) {
        let part = self.put(model);
        let parts = self.put_words(&[part, u32::try_from(model.len()).unwrap()]);
        let out = self.handle(errno, graph);
        self.call(0, &[parts, 1, encoding, target, out], errno);
    }

    pub fn load_by_name(&mut self, name: &str, errno: u32, graph: u32) {
        let at = self.put(name.as_bytes());
        let out = self.handle(errno, graph);
        self.call(1, &[at, u32::try_from(name.len()).unwrap(), out], errno);
    }

    pub fn context(&mut self, graph: u32, errno: u32, context: u32) {
        let out = self.handle(errno, context);
        self.call(2, &[graph, out], errno);
    }

    /// Where a handle is written, or not, if there is an error.
    fn handle(&mut self, errno: u32, handle: u32) -> u32 {
        match errno {
            SUCCESS => self.answer(&handle.to_le_bytes()),
            _ => self.answer(&[0xee; 4]),
        }
    }

    pub fn input(&mut self, context: u32, index: u32, values: &[f32], errno: u32) {
        let dims = self.put_words(&[u32::try_from(values.len()).unwrap()]);
        let data = self.put(&bytes(values));
        let length = u32::try_from(size_of_val(values)).unwrap();
        self.raw_input(context, index, [dims, 1, F32, data, length], errno);
    }

    pub fn raw_input(&mut self, context: u32, index: u32, tensor: [u32; 5], errno: u32) {
        let tensor = self.put_words(&tensor);
        self.call(3, &[context, index, tensor], errno);
    }

    pub fn compute(&mut self, context: u32, errno: u32) {
        self.call(4, &[context], errno);
    }

    /// `get_output` into a buffer that has some bytes to spare.
    pub fn output(&mut self, context: u32, index: u32, values: &[f32]) {
        let length = u32::try_from(size_of_val(values)).unwrap();
        let buffer = self.answer(&[bytes(values), vec![0xee; 8]].concat());
        let out = self.answer(&length.to_le_bytes());
        self.call(5, &[context, index, buffer, length + 4, out], SUCCESS);
    }

    /// `get_output` that is refused and writes nothing.
    pub fn no_output(&mut self, context: u32, index: u32, max: u32, errno: u32) {
        let buffer = self.answer(&[0xee; 32]);
        let out = self.answer(&[0xee; 4]);
        self.call(5, &[context, index, buffer, max, out], errno);
    }

    /// The program grows its memory by a page.
    pub fn grow(&mut self) {
        self.call(6, &[1], u32::MAX);
    }

    fn image(&self) -> Vec<u8> {
        let mut image = u32::try_from(self.calls.len())
            .unwrap()
            .to_le_bytes()
            .to_vec();
        image.extend(
            self.calls
                .iter()
                .flatten()
                .flat_map(|word| word.to_le_bytes()),
        );
        let calls_end = usize::try_from(DATA - IMAGE).unwrap();
        assert!(image.len() <= calls_end, "too many calls");
        image.resize(calls_end, 0);
        image.extend(&self.data);
        assert!(image.len() <= 0xf_0000, "too much data");
        image
    }

    /// Plays it, with `double.onnx` as the model `double`.
    pub fn run(&self, home: &Home, options: &[&str]) -> Said {
        let player = home.path("player.wasm");
        if !player.is_file() {
            home.file("player.core.wasm", wat::parse_str(PLAYER).unwrap());
            home.adit(&["build", "player.core.wasm", "--out", "player.wasm"])
                .exits(0);
        }
        let input = home.file("script", self.image());
        let model = format!("double={}", double().display());
        let mut args = vec!["run", player.to_str().unwrap(), "--model", &model];
        args.extend(["--input", input.to_str().unwrap()]);
        args.extend(options);
        home.adit(&args)
    }

    /// Plays it, and compares every errno and every answer; then replays it.
    #[track_caller]
    pub fn holds(&self) {
        let home = Home::new();
        let said = self.run(&home, &[]).exits(0);
        let word = |at: u32| {
            let at = usize::try_from(at - IMAGE).unwrap();
            u32::from_le_bytes(said.stdout[at..at + 4].try_into().unwrap())
        };
        for (number, (call, expected)) in self.calls.iter().zip(&self.expected).enumerate() {
            // What growing returns depends on how much the adapter has grown.
            if call[0] != 6 {
                let errno = word(CALLS + CALL_BYTES * u32::try_from(number).unwrap());
                assert_eq!(errno, *expected, "call {number}: {call:x?}");
            }
        }
        for (at, expected) in &self.answers {
            let start = usize::try_from(at - IMAGE).unwrap();
            let found = &said.stdout[start..start + expected.len()];
            assert_eq!(found, expected, "at {at:#x}");
        }
        home.adit(&["receipt", "replay", "last"]).exits(0);
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// `y = x + x` for `x` f32[n].
pub fn double() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/double.onnx")
}
