//! Every mistake that a guest can make with `wasi:nn`, and what it is told.

use super::models::{compute_one, load_own};
use super::wasi::nn::errors::Error;
use super::wasi::nn::graph::{ExecutionTarget, GraphEncoding, load, load_by_name};
use super::wasi::nn::tensor::{Tensor, TensorType};
use super::{Order, Outcome, failed, said};

const TYPES: [TensorType; 7] = [
    TensorType::Fp16,
    TensorType::Fp32,
    TensorType::Fp64,
    TensorType::Bf16,
    TensorType::U8,
    TensorType::I32,
    TensorType::I64,
];

/// A little of everything, with Silero's model under the name `silero`.
pub fn errors(_: &Order<'_>) -> Outcome {
    let mut told = String::new();
    let mut tell = |what: &str, result: Result<(), Error>| {
        told.push_str(&format!("{what}: {}\n", said(result)));
    };
    tell("unknown name", load_by_name("nobody").map(drop));
    let cpu = ExecutionTarget::Cpu;
    tell("garbage", load_own(&[7; 100]).map(drop));
    tell(
        "two parts",
        load(&[vec![], vec![]], GraphEncoding::Onnx, cpu).map(drop),
    );
    tell(
        "gpu",
        load(&[vec![]], GraphEncoding::Onnx, ExecutionTarget::Gpu).map(drop),
    );
    tell(
        "encoding",
        load(&[vec![]], GraphEncoding::Pytorch, cpu).map(drop),
    );

    let graph = load_by_name("silero").map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let input = || Tensor::new(&[1, 576], TensorType::Fp32, &[0; 576 * 4]);
    let state = || Tensor::new(&[2, 1, 128], TensorType::Fp32, &[0; 1024]);
    let sr = || Tensor::new(&[1], TensorType::I64, &16_000i64.to_le_bytes());
    let mut compute = |what: &str, inputs: Vec<(&str, Tensor)>| {
        let inputs = inputs.into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
        tell(what, context.compute(inputs).map(drop));
    };
    let with = |input| vec![("input", input), ("state", state()), ("sr", sr())];
    compute("nothing", vec![]);
    compute("one missing", vec![("input", input()), ("state", state())]);
    let mut four = with(input());
    four.push(("x", sr()));
    compute("one too many", four);
    let mut four = with(input());
    four.push(("sr", sr()));
    compute("twice", four);
    let mut wrong = |what: &str, input: Tensor| {
        compute(what, with(input));
    };
    let ragged = &[0; 576 * 4 - 1];
    wrong("ragged", Tensor::new(&[1, 576], TensorType::Fp32, ragged));
    let whole = &[0; 576 * 4];
    wrong("type", Tensor::new(&[1, 576], TensorType::I32, whole));
    wrong("rank", Tensor::new(&[576], TensorType::Fp32, whole));
    let huge = [u32::MAX, u32::MAX, u32::MAX];
    wrong("huge", Tensor::new(&huge, TensorType::Fp32, &[]));
    compute("good", with(input()));

    // Positions stand for names, and may be mixed with them.
    let mut three = |what: &str, names: [&'static str; 3]| {
        let tensors = [input(), state(), sr()];
        compute(what, names.into_iter().zip(tensors).collect());
    };
    three("positions", ["0", "1", "2"]);
    three("mixed", ["input", "1", "sr"]);
    three("leading zero", ["0", "01", "2"]);
    three("sign", ["0", "+1", "2"]);
    three("too far", ["0", "1", "3"]);
    compute(
        "position and name",
        vec![("0", input()), ("input", input()), ("2", sr())],
    );
    Ok(told.into_bytes())
}

/// Names that no model has.
pub fn names(_: &Order<'_>) -> Outcome {
    let long = "n".repeat(1 << 20);
    let names = [
        "",
        " ",
        "silero ",
        "Silero",
        "silero\0",
        "../silero",
        "s\u{131}lero",
        &long,
    ];
    let mut told = String::new();
    for name in names {
        told.push_str(&format!(
            "{} bytes: {}\n",
            name.len(),
            said(load_by_name(name))
        ));
    }
    told.push_str(&format!("silero: {}\n", said(load_by_name("silero"))));
    Ok(told.into_bytes())
}

/// Every encoding for every target, with a good model.
pub fn encodings(order: &Order<'_>) -> Outcome {
    let mut told = String::new();
    for encoding in [
        GraphEncoding::Openvino,
        GraphEncoding::Onnx,
        GraphEncoding::Tensorflow,
        GraphEncoding::Pytorch,
        GraphEncoding::Tensorflowlite,
        GraphEncoding::Ggml,
        GraphEncoding::Autodetect,
    ] {
        for target in [
            ExecutionTarget::Cpu,
            ExecutionTarget::Gpu,
            ExecutionTarget::Tpu,
        ] {
            let answer = said(load(&[order.rest.to_vec()], encoding, target));
            told.push_str(&format!("{encoding:?} {target:?}: {answer}\n"));
        }
    }
    told.push_str(&format!(
        "no part: {}\n",
        said(load(&[], GraphEncoding::Onnx, ExecutionTarget::Cpu))
    ));
    Ok(told.into_bytes())
}

/// A tensor is what it was made of, ragged or not, until it is used.
pub fn read_back(_: &Order<'_>) -> Outcome {
    let mut told = String::new();
    let mut tell = |t: Tensor| {
        let (dims, ty, data) = (t.dimensions(), t.ty(), t.data());
        told.push_str(&format!("{dims:?} {ty:?} {data:?}\n"));
    };
    for ty in TYPES {
        tell(Tensor::new(&[2, 0], ty, &[1, 2, 3]));
    }
    tell(Tensor::new(&[], TensorType::U8, &[]));
    tell(Tensor::new(&[u32::MAX; 3], TensorType::I64, &[255]));
    Ok(told.into_bytes())
}

/// A model that takes `x` f32 of one dimension of any length, the rest of the input, is given
/// every other type, rank and length.
pub fn shapes(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let mut told = String::new();
    let mut tell = |dims: &[u32], ty: TensorType, bytes: usize| {
        let x = Tensor::new(dims, ty, &vec![0; bytes]);
        let answer = said(context.compute(vec![("x".to_owned(), x)]));
        told.push_str(&format!("{dims:?} {ty:?} {bytes}: {answer}\n"));
    };
    for ty in TYPES {
        tell(&[2], ty, 8);
    }
    for bytes in [0, 7, 9, 12] {
        tell(&[2], TensorType::Fp32, bytes);
    }
    let ranks: [&[u32]; 5] = [&[], &[1, 2], &[2, 1], &[1, 1, 2], &[2; 9]];
    for dims in ranks {
        let elements: u32 = dims.iter().product();
        tell(dims, TensorType::Fp32, 4 * elements as usize);
    }
    Ok(told.into_bytes())
}

/// Dimensions of zero, and ones whose product overflows in every width.
pub fn dimensions(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let mut told = String::new();
    let all: [&[u32]; 9] = [
        &[0],
        &[0, 0],
        &[0, u32::MAX],
        &[u32::MAX],
        &[1 << 30],
        &[1 << 31, 2],
        &[1 << 16, 1 << 16],
        &[1 << 31, 1 << 31, 4],
        &[u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX],
    ];
    for dims in all {
        for bytes in [0, 4] {
            let x = Tensor::new(dims, TensorType::Fp32, &vec![0; bytes]);
            let answer = said(context.compute(vec![("x".to_owned(), x)]));
            told.push_str(&format!("{dims:?} {bytes}: {answer}\n"));
        }
    }
    Ok(told.into_bytes())
}

/// Runs of equal answers, with the index at which each begins.
struct Runs(Vec<(usize, String)>);

impl Runs {
    fn add(&mut self, at: usize, answer: String) {
        if self.0.last().is_none_or(|(_, last)| *last != answer) {
            self.0.push((at, answer));
        }
    }

    fn told(self) -> Outcome {
        let lines = self
            .0
            .iter()
            .map(|(at, answer)| format!("{at}: {answer}\n"));
        Ok(lines.collect::<String>().into_bytes())
    }
}

/// A good model, the rest of the input, cut off at every byte.
pub fn truncated(order: &Order<'_>) -> Outcome {
    let mut runs = Runs(Vec::new());
    for end in 0..=order.rest.len() {
        runs.add(end, said(load_own(&order.rest[..end])));
    }
    runs.told()
}

/// `flipped FIRST COUNT`: a good model with one bit flipped at a time, loaded, and run where it
/// loads.
pub fn flipped(order: &Order<'_>) -> Outcome {
    let mut model = order.rest.to_vec();
    let mut runs = Runs(Vec::new());
    for bit in order.number(1)..order.number(1) + order.number(2) {
        let Some(byte) = model.get_mut(bit / 8) else {
            break;
        };
        let mask = 1u8 << (bit % 8);
        *byte ^= mask;
        let answer = load_own(&model).and_then(|graph| {
            let context = graph.init_execution_context()?;
            compute_one(&context, &[1.5, -2.0])
        });
        model[bit / 8] ^= mask;
        let answer = match answer {
            Ok(bytes) => format!("{bytes:02x?}"),
            Err(error) => said::<()>(Err(error)),
        };
        runs.add(bit, answer);
    }
    runs.told()
}
