//! The whole task, with models that read shades of grey.

use adit_sdk::{Tensor, Tensors, testing};

use super::*;
use crate::characters::tests::output;

mod page;

/// Pieces of text by left, top, right and bottom. Piece `n` has the grey `10 * n`.
const PIECES: [[usize; 4]; 4] = [
    [40, 90, 100, 110],
    [200, 24, 300, 42],
    [20, 20, 80, 40],
    [30, 130, 90, 150],
];

/// A page with some pieces.
fn drawing(pieces: &[[usize; 4]]) -> Vec<u8> {
    let mut pixels = vec![255_u8; 320 * 160];
    for (index, [left, top, right, bottom]) in pieces.iter().enumerate() {
        for row in pixels.chunks_mut(320).take(*bottom).skip(*top) {
            row[*left..*right].fill(index as u8 * 10);
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 320, 160);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    file
}

/// A detector that takes what is dark for text.
fn detector() {
    testing::model("det", |inputs| {
        let x = inputs.get::<f32>("x")?;
        let dims = x.dims().to_vec();
        assert_eq!(dims[..2], [1, 3]);
        let blue = &x.data()[..dims[2] * dims[3]];
        let map = blue
            .iter()
            .map(|&value| if value < 0.0 { 0.9_f32 } else { 0.1 });
        let map = Tensor::new(&[1, 1, dims[2], dims[3]], map.collect())?;
        Ok(Tensors::new().with("sigmoid_0.tmp_0", map))
    });
}

/// A recogniser that reads the number of a piece from its grey, with this probability.
fn recogniser(probability: f32) {
    testing::model("rec", move |inputs| {
        let x = inputs.get::<f32>("x")?;
        assert_eq!(
            (x.dims()[..3].to_vec(), x.dims()[3] % 32),
            (vec![1, 3, 48], 0)
        );
        // In the middle of its height, and some way into it.
        let grey = (x.data()[24 * x.dims()[3] + 40] + 1.0) * 127.5;
        let number = (grey / 10.0).round();
        let mut answer = vec![0.0_f32; 5 * 6625];
        for step in [1, 2] {
            answer[step * 6625 + output(&number.to_string())] = probability;
        }
        Ok(Tensors::new().with("softmax_11.tmp_0", Tensor::new(&[1, 5, 6625], answer)?))
    });
}

#[test]
fn lines_are_emitted_in_the_order_of_reading() {
    detector();
    recogniser(0.9);
    let run = testing::run(run, drawing(&PIECES));
    assert_eq!(run.result, Ok(Vec::new()));
    assert_eq!(run.emitted, [&b"2 1\n"[..], b"0\n", b"3\n"]);
    let steps: Vec<_> = run.progress.iter().map(|p| (p.done, p.total)).collect();
    assert_eq!(steps, [(1, 4), (2, 4), (3, 4), (4, 4)]);
}

/// A detector that takes what is near to ink for text does as well as the real one on clean paper.
#[test]
fn the_pieces_of_a_page_are_found_by_their_ink() {
    testing::model("det", |inputs| {
        let x = inputs.get::<f32>("x")?;
        let [height, width] = [x.dims()[2], x.dims()[3]];
        let mut map = vec![0.0_f32; height * width];
        for at in (0..height * width).filter(|&at| x.data()[at] < 0.0) {
            for row in map
                .chunks_mut(width)
                .skip((at / width).saturating_sub(3))
                .take(7)
            {
                row[(at % width).saturating_sub(16)..(at % width + 16).min(width)].fill(0.9);
            }
        }
        let map = Tensor::new(&[1, 1, height, width], map)?;
        Ok(Tensors::new().with("sigmoid_0.tmp_0", map))
    });
    testing::model("rec", |_| {
        let mut answer = vec![0.0_f32; 6625];
        answer[output("x")] = 1.0;
        Ok(Tensors::new().with("softmax_11.tmp_0", Tensor::new(&[1, 1, 6625], answer)?))
    });
    let (image, text) = page::sample();
    let run = testing::run(run, image);
    let output = String::from_utf8(run.output()).unwrap();
    let pieces: Vec<_> = output.lines().map(|line| line.split(' ').count()).collect();
    assert_eq!(pieces, [2, 1, 3, 2, 1, 1, 1]);
    assert_eq!(pieces.len(), text.lines().count());
}

#[test]
fn boxes_are_in_pixels_of_the_image() {
    detector();
    recogniser(0.9);
    testing::set_args(["--boxes"]);
    let run = testing::run(run, drawing(&PIECES));
    // The first piece is 59 across and 19 down: it grows by 59 * 19 * 1.5 / 156 = 10.8.
    let expected = "1\t9\t9\t90\t50\t0.900\t2\n\
                    1\t189\t13\t310\t52\t0.900\t1\n\
                    2\t29\t79\t110\t120\t0.900\t0\n\
                    3\t19\t119\t100\t160\t0.900\t3\n";
    assert_eq!(String::from_utf8(run.output()).unwrap(), expected);
}

#[test]
fn an_empty_page_and_what_is_read_without_confidence_give_no_line() {
    detector();
    recogniser(0.49);
    for pieces in [&PIECES[..], &[]] {
        let run = testing::run(run, drawing(pieces));
        assert_eq!(run.result, Ok(Vec::new()));
        assert_eq!(run.output(), b"");
        assert_eq!(run.progress.len(), pieces.len());
    }
}

#[test]
fn what_cannot_be_read_is_refused_before_any_inference() {
    testing::model("det", |_| panic!("inference on no image"));
    testing::model("rec", |_| panic!("inference on no image"));
    let mut cut = drawing(&PIECES);
    cut.truncate(200);
    for (code, input) in [(17, &b"no image"[..]), (18, &cut)] {
        assert_eq!(testing::run(run, input).result.unwrap_err().code, code);
    }
    for args in [&["--box"][..], &["--boxes", "--boxes"]] {
        testing::set_args(args.to_vec());
        assert_eq!(testing::run(run, drawing(&[])).result.unwrap_err().code, 16);
    }
}

#[test]
fn other_models_are_found_out() {
    let code = || testing::run(run, drawing(&PIECES)).result.unwrap_err();
    assert!(code().message.contains("--model rec=FILE"));
    recogniser(0.9);
    assert!(code().message.contains("--model det=FILE"));
    let answer = |shape: [usize; 4], value: f32| {
        let map = vec![value; shape.iter().product()];
        let map = Tensor::new(&shape, map).unwrap();
        testing::model("det", move |_| {
            Ok(Tensors::new().with("sigmoid_0.tmp_0", map.clone()))
        });
    };
    answer([1, 1, 32, 32], 0.5);
    assert_eq!(code().code, Error::INFERENCE);
    answer([1, 1, 160, 320], f32::NAN);
    assert_eq!(code().code, 21);
    detector();
    recogniser(f32::NAN);
    assert_eq!(code().code, 21);
}

/// A map in which every second place in both directions would be a piece of text, were pieces
/// that small taken for text; and the finest grid that is.
#[test]
fn too_many_pieces_are_refused() {
    recogniser(0.9);
    let grid = |step: usize| {
        testing::model("det", move |_| {
            let text = |at: usize| at % step < step - 1 && at % step < 5;
            let place = |at: usize| {
                if text(at % 960) && text(at / 960) {
                    0.9_f32
                } else {
                    0.0
                }
            };
            let map = (0..960 * 960).map(place).collect();
            Ok(Tensors::new().with("sigmoid_0.tmp_0", Tensor::new(&[1, 1, 960, 960], map)?))
        });
        let mut page = Vec::new();
        let mut encoder = png::Encoder::new(&mut page, 960, 960);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[255; 960 * 960]).unwrap();
        writer.finish().unwrap();
        testing::run(run, page).result.map_err(|error| error.code)
    };
    assert_eq!(grid(2), Ok(Vec::new()));
    assert_eq!(grid(6), Err(20));
}
