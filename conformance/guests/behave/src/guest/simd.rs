//! Vector arithmetic, on NaNs and subnormals above all.

use core::arch::wasm32::*;
use std::hint::black_box;

use super::Args;

fn show(name: &str, v: v128) {
    let (low, high) = (u64x2_extract_lane::<0>(v), u64x2_extract_lane::<1>(v));
    println!("{name} {high:016x}{low:016x}");
}

/// One of each kind of operation.
#[target_feature(enable = "simd128")]
fn all() {
    // A signalling and a negative NaN with payload, an infinity, a subnormal.
    let a = black_box(u32x4(0x7f80_0001, 0xffc0_dead, 0x7f80_0000, 0x0000_0003));
    let b = black_box(u32x4(0x3f80_0000, 0x8000_0000, 0xff80_0000, 0x3f00_0000));
    show("f32x4.add", f32x4_add(a, b));
    show("f32x4.sub", f32x4_sub(a, b));
    show("f32x4.mul", f32x4_mul(a, b));
    show("f32x4.div", f32x4_div(a, b));
    show("f32x4.min", f32x4_min(a, b));
    show("f32x4.max", f32x4_max(a, b));
    show("f32x4.pmin", f32x4_pmin(a, b));
    show("f32x4.pmax", f32x4_pmax(b, a));
    show("f32x4.sqrt", f32x4_sqrt(a));
    show("f32x4.ceil", f32x4_ceil(a));
    show("f32x4.floor", f32x4_floor(a));
    show("f32x4.trunc", f32x4_trunc(a));
    show("f32x4.nearest", f32x4_nearest(a));
    show("f32x4.abs", f32x4_abs(a));
    show("f32x4.neg", f32x4_neg(a));
    show("f32x4.lt", f32x4_lt(a, b));
    show("promote", f64x2_promote_low_f32x4(a));
    show("i32x4.trunc_sat", i32x4_trunc_sat_f32x4(a));
    show("u32x4.trunc_sat", u32x4_trunc_sat_f32x4(b));
    show("f32x4.convert", f32x4_convert_u32x4(a));

    let a = black_box(u64x2(0x7ff0_0000_0000_0001, 0x0000_0000_0000_0003));
    let b = black_box(u64x2(0xfff8_0000_dead_beef, 0x3fe0_0000_0000_0000));
    show("f64x2.add", f64x2_add(a, b));
    show("f64x2.sub", f64x2_sub(a, b));
    show("f64x2.mul", f64x2_mul(a, b));
    show("f64x2.div", f64x2_div(a, b));
    show("f64x2.min", f64x2_min(a, b));
    show("f64x2.max", f64x2_max(b, a));
    show("f64x2.pmin", f64x2_pmin(a, b));
    show("f64x2.sqrt", f64x2_sqrt(b));
    show("f64x2.nearest", f64x2_nearest(a));
    show("f64x2.neg", f64x2_neg(a));
    show("demote", f32x4_demote_f64x2_zero(b));
    show("i32x4.trunc_sat_f64", i32x4_trunc_sat_f64x2_zero(b));
    show("f64x2.convert", f64x2_convert_low_i32x4(a));

    let a = black_box(i8x16(
        -128, 127, 0, -1, 1, 100, -100, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ));
    let b = black_box(i8x16_splat(-3));
    show("i8x16.add_sat", i8x16_add_sat(a, b));
    show("u8x16.sub_sat", u8x16_sub_sat(a, b));
    show("u8x16.avgr", u8x16_avgr(a, b));
    show("i8x16.shr", i8x16_shr(a, 9));
    show("i8x16.swizzle", i8x16_swizzle(a, b));
    show("i8x16.popcnt", i8x16_popcnt(a));
    show("i16x8.q15mulr_sat", i16x8_q15mulr_sat(a, b));
    show("i16x8.narrow", i8x16_narrow_i16x8(a, b));
    show("i32x4.dot", i32x4_dot_i16x8(a, b));
    show("i64x2.mul", i64x2_mul(a, b));
    show("i64x2.extmul", i64x2_extmul_high_i32x4(a, b));
    show("bitselect", v128_bitselect(a, b, black_box(i64x2(-1, 0))));
    println!("bitmask {:x}", i8x16_bitmask(a));
}

/// Print what each operation gives, bit for bit.
pub fn simd(_: &Args) {
    // SAFETY: the engine has vectors; a component that uses them would not compile otherwise.
    #[allow(unused_unsafe)]
    unsafe {
        all();
    }
}
