//! WebAssembly by hand: what the text format could not say in a reasonable size.
//!
//! Binary format: WebAssembly core specification 2.0, "Binary Format", and the component model's
//! `Binary.md`.

use std::io::Write;

/// The beginning of a core module; alone, it is an empty one.
pub const MODULE_HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";
/// The beginning of a component.
const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Most local variables and loops: what is made stays below the size that engines take for one
/// function.
const LOCALS_MAX: u32 = 50_000;
const LOOPS_MAX: u32 = 100_000;

/// A component with a custom section of zeros behind it, so that both have `len` bytes together.
pub fn padded(component: &[u8], len: u64, to: &mut dyn Write) -> std::io::Result<()> {
    const NAME: &[u8] = b"\x07padding";
    // The identifier, and five bytes of length, which LEB128 admits for a small number too.
    let header = (component.len() + 6) as u64;
    let body = len.saturating_sub(header).max(NAME.len() as u64);
    let size = u32::try_from(body).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    to.write_all(component)?;
    to.write_all(&[0])?;
    to.write_all(&leb_of_five(size))?;
    to.write_all(NAME)?;
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0), body - NAME.len() as u64),
        to,
    )?;
    Ok(())
}

/// A component with one core module, which has one function with `locals` variables and `loops`
/// nested loops around an increment of each variable.
pub fn slow_to_compile(locals: u32, loops: u32) -> Vec<u8> {
    const LOOP: [u8; 2] = [0x03, 0x40];
    const END: u8 = 0x0b;
    let (locals, loops) = (locals.clamp(1, LOCALS_MAX), loops.min(LOOPS_MAX));

    // One group of variables, of type i32.
    let mut body = vec![1];
    leb(&mut body, locals);
    body.push(0x7f);
    for _ in 0..loops {
        body.extend(LOOP);
    }
    for local in 0..locals {
        // local.get, i32.const 1, i32.add, local.set
        body.push(0x20);
        leb(&mut body, local);
        body.extend([0x41, 1, 0x6a, 0x21]);
        leb(&mut body, local);
    }
    for _ in 0..loops {
        // local.get 0, br_if 0: whether each loop goes on is not known to the compiler.
        body.extend([0x20, 0, 0x0d, 0, END]);
    }
    body.push(END);

    let mut code = vec![1];
    leb(&mut code, len(&body));
    code.extend(body);
    let mut module = MODULE_HEADER.to_vec();
    // One type, without parameters and results; one function of that type; its code.
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &[1, 0]);
    section(&mut module, 10, &code);

    let mut component = COMPONENT_HEADER.to_vec();
    section(&mut component, 1, &module);
    // One core instance: module 0, with no arguments.
    section(&mut component, 2, &[1, 0, 0, 0]);
    component
}

fn section(to: &mut Vec<u8>, id: u8, body: &[u8]) {
    to.push(id);
    leb(to, len(body));
    to.extend(body);
}

fn len(bytes: &[u8]) -> u32 {
    // What is made here has a few megabytes.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Unsigned LEB128.
fn leb(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// The same in five bytes, whatever the value.
fn leb_of_five(value: u32) -> [u8; 5] {
    let part = |shift: u32| (value >> shift) as u8 & 0x7f | 0x80;
    [
        part(0),
        part(7),
        part(14),
        part(21),
        (value >> 28) as u8 & 0x0f,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_gives_the_length_to_the_byte() {
        let mut file = Vec::new();
        padded(&COMPONENT_HEADER, 1 << 20, &mut file).unwrap();
        assert_eq!(file.len(), 1 << 20);
        assert_eq!(file[..9], *b"\0asm\x0d\0\x01\0\0");
        // Read back as the specification says.
        let size = (0..5).fold(0u64, |sum, i| {
            sum | u64::from(file[9 + i] & 0x7f) << (7 * i as u32)
        });
        assert_eq!(size, (1 << 20) - 14);
        assert_eq!(file[14..22], *b"\x07padding");
    }

    #[test]
    fn the_slow_component_is_what_it_says() {
        let small = slow_to_compile(2, 3);
        let text = "(component (core module (func (local i32 i32)
            loop loop loop
              local.get 0 i32.const 1 i32.add local.set 0
              local.get 1 i32.const 1 i32.add local.set 1
              local.get 0 br_if 0 end
              local.get 0 br_if 0 end
              local.get 0 br_if 0 end))
            (core instance (instantiate 0)))";
        assert_eq!(small, wat::parse_str(text).unwrap());
        assert!(slow_to_compile(u32::MAX, 10).len() < 1 << 20);
    }
}
