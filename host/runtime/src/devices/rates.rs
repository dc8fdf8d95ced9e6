//! How fast a device computes and moves memory, by models whose work is known.

use std::time::Duration;

use adit_protocol::manifest::ModelManifest;
use adit_protocol::tensor::{DType, TensorBlob};

use super::standard::{self, PASSES, PRODUCTS, StandardModel};
use super::{MeasureError, inputs, median};
use crate::store::blobs::BlobStore;
use crate::worker::supervisor::{Supervisor, SupervisorError};
use crate::worker::trial::Named;

/// What was measured of a device. A rate that could not be measured is 0 or absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// 32-bit floating-point operations per second.
    pub fp32: u64,
    /// The same with 16 bits; absent if the device has no such arithmetic.
    pub fp16: Option<u64>,
    /// Bytes of the device's memory read and written per second.
    pub memory: u64,
    /// Inferences in 1000 seconds of each standard model.
    pub models: Vec<(&'static str, u64)>,
}

/// A computation should take this long, so that starting it does not count.
const ENOUGH: Duration = Duration::from_millis(40);
/// Time for one measurement.
const TIME: Duration = Duration::from_secs(4);
/// Sizes of matrices: the first at which a computation takes long enough is measured.
const MATRICES: [u32; 6] = [256, 512, 1024, 2048, 4096, 8192];
/// Rows of the memory test, of 2^18 numbers each: 16 MiB to 4 GiB.
const ROWS: [u32; 5] = [16, 64, 256, 1024, 4096];
/// Numbers in a row of the memory test.
const ROW: u32 = 1 << 18;
/// Size of the open dimensions of the standard models.
const SIZE: u32 = 128;

/// Measures a device. `memory_bytes` is what it has, 0 if nobody knows; the memory test takes at
/// most an eighth of it.
///
/// # Errors
///
/// [`MeasureError`] if no worker can be had; what the device cannot compute is left out.
pub fn measure(
    blobs: &BlobStore,
    device: &Supervisor,
    memory_bytes: u64,
) -> Result<Rates, MeasureError> {
    let mut rates = Rates {
        fp32: products(blobs, device, false)?.unwrap_or(0),
        ..Rates::default()
    };
    rates.fp16 = products(blobs, device, true)?;
    rates.memory = passes(blobs, device, memory_bytes)?.unwrap_or(0);
    for model in standard::models() {
        let manifest = model.store(blobs)?;
        let case = super::store(blobs, &inputs::make(&manifest, SIZE, 256, 0))?;
        if let Some(us) = time(device, &manifest, case, 1000)? {
            // Inferences in 1000 s.
            rates.models.push((model.name, 1_000_000_000 / us.max(1)));
        }
    }
    Ok(rates)
}

/// Floating-point operations per second in products of matrices.
fn products(
    blobs: &BlobStore,
    device: &Supervisor,
    half: bool,
) -> Result<Option<u64>, MeasureError> {
    let model = standard::products(half);
    let manifest = model.store(blobs)?;
    let mut best = None;
    for n in MATRICES {
        // A matrix whose powers stay near 1 in size.
        let value = 1.0 / n as f32;
        let case = filled(blobs, &manifest, &[n, n], value)?;
        let Some(us) = time(device, &manifest, case, 10)? else {
            break;
        };
        let operations = u64::from(n).pow(3).saturating_mul(2 * PRODUCTS);
        best = best.max(Some(per_second(operations, us)));
        if us >= micros(ENOUGH) {
            break;
        }
    }
    Ok(best)
}

/// Bytes per second in passes over memory.
fn passes(
    blobs: &BlobStore,
    device: &Supervisor,
    memory_bytes: u64,
) -> Result<Option<u64>, MeasureError> {
    let mut best = None;
    for rows in ROWS {
        let bytes = u64::from(rows) * u64::from(ROW) * 4;
        // Without knowing the memory, no more than every device has.
        let room = if memory_bytes == 0 {
            2 << 30
        } else {
            memory_bytes
        };
        if bytes > room / 8 {
            break;
        }
        let model: StandardModel = standard::passes(rows);
        let manifest = model.store(blobs)?;
        let case = filled(blobs, &manifest, &[1, ROW], 1.0)?;
        let Some(us) = time(device, &manifest, case, 10)? else {
            break;
        };
        best = best.max(Some(per_second(bytes.saturating_mul(2 * PASSES), us)));
        if us >= micros(ENOUGH) {
            break;
        }
    }
    Ok(best)
}

/// Median time of a computation in microseconds; `None` if the device cannot make it.
fn time(
    device: &Supervisor,
    manifest: &ModelManifest,
    case: Vec<Named>,
    rounds: u32,
) -> Result<Option<u64>, MeasureError> {
    match device.try_model(manifest, vec![case], rounds, TIME) {
        Ok(tried) if tried.cases.iter().all(|case| case.error.is_none()) => {
            Ok(Some(median(&tried).max(1)))
        }
        Ok(_) | Err(SupervisorError::Trial(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn filled(
    blobs: &BlobStore,
    manifest: &ModelManifest,
    dims: &[u32],
    value: f32,
) -> Result<Vec<Named>, MeasureError> {
    let count: usize = dims.iter().map(|dim| *dim as usize).product();
    let data = value.to_le_bytes().repeat(count);
    let hash = blobs.put(&TensorBlob::encode(DType::Fp32, dims, &data))?;
    let name = manifest.inputs.first().map(|spec| spec.name.clone());
    Ok(vec![Named {
        name: name.unwrap_or_default(),
        hash,
    }])
}

fn per_second(count: u64, us: u64) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / u128::from(us.max(1))).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
