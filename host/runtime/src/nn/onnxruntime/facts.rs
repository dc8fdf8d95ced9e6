//! What is known of a device: its name, its driver, its memory.
//!
//! ONNX Runtime does not tell most of it, so it is asked of those who do: Vulkan for WebGPU on
//! Linux, NVIDIA's management library for CUDA. Both are loaded if they are there and are never
//! needed to compute.

use ash::vk;

use super::provider::Provider;
use crate::nn::backend::BackendError;

/// A device in words. Texts are empty and numbers 0 where nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Name of the device; `cpu` for all processors of one baseline.
    pub name: String,
    /// Name and version of the driver.
    pub driver: String,
    /// Bytes of its own memory.
    pub memory_bytes: u64,
}

/// Longest text that is taken from a driver, in bytes: the bound of the environment document.
const TEXT_BYTES: usize = 200;

/// What is known of a provider's device.
///
/// # Errors
///
/// [`BackendError::Unavailable`] where it is known that there is none. ONNX Runtime's WebGPU provider
/// was seen to crash then.
pub(super) fn of(provider: Provider, index: u32) -> Result<DeviceFacts, BackendError> {
    let found = match provider {
        Provider::Cpu | Provider::OpenVino => Some(DeviceFacts {
            name: "cpu".to_owned(),
            ..DeviceFacts::default()
        }),
        Provider::Cuda | Provider::TensorRt => nvidia(index),
        Provider::WebGpu if cfg!(target_os = "linux") => Some(vulkan().ok_or_else(no_vulkan)?),
        Provider::OpenVinoGpu
        | Provider::MiGraphX
        | Provider::CoreMl
        | Provider::DirectMl
        | Provider::WebGpu => None,
    };
    let found = found.unwrap_or_else(|| DeviceFacts {
        name: "unknown".to_owned(),
        ..DeviceFacts::default()
    });
    Ok(DeviceFacts {
        name: plain(&found.name),
        driver: plain(&found.driver),
        ..found
    })
}

fn no_vulkan() -> BackendError {
    BackendError::unavailable(
        "Vulkan finds no device; hint: install the Vulkan driver of your GPU and the loader libvulkan.so.1 (on Debian: libvulkan1, with mesa-vulkan-drivers for AMD and Intel, libegl1 for NVIDIA), or name the driver's file in VK_DRIVER_FILES",
    )
}

/// By way of NVIDIA's management library. Its order of devices is that of the bus, which workers
/// tell CUDA to use as well.
fn nvidia(index: u32) -> Option<DeviceFacts> {
    let nvml = nvml_wrapper::Nvml::init().ok()?;
    let device = nvml.device_by_index(index).ok()?;
    Some(DeviceFacts {
        name: device.name().ok()?,
        driver: format!("nvidia {}", nvml.sys_driver_version().ok()?),
        memory_bytes: device.memory_info().map_or(0, |memory| memory.total),
    })
}

/// The temperature of a device in degrees Celsius, where something tells it: of NVIDIA's devices
/// their management library.
pub fn temperature_c(provider: Provider, index: u32) -> Option<u32> {
    use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
    if !matches!(provider, Provider::Cuda | Provider::TensorRt) {
        return None;
    }
    let nvml = nvml_wrapper::Nvml::init().ok()?;
    let device = nvml.device_by_index(index).ok()?;
    device.temperature(TemperatureSensor::Gpu).ok()
}

/// The Vulkan device that Dawn, the WebGPU implementation in ONNX Runtime, takes when it is asked
/// for the fastest: a discrete GPU before an integrated one before any other, in the loader's
/// order.
fn vulkan() -> Option<DeviceFacts> {
    // SAFETY: loading the system's Vulkan loader runs its code and that of the drivers, which the
    // WebGPU provider does in this process in any case.
    let entry = unsafe { ash::Entry::load() }.ok()?;
    let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
    let create = vk::InstanceCreateInfo::default().application_info(&application);
    // SAFETY: the structures are complete and live through the call; no allocator is given.
    let instance = unsafe { entry.create_instance(&create, None) }.ok()?;
    // SAFETY: the instance is alive.
    let devices = unsafe { instance.enumerate_physical_devices() }.unwrap_or_default();
    let best = devices
        .into_iter()
        .map(|device| {
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut about = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            // SAFETY: the device belongs to the instance, and the chain of structures is complete.
            unsafe { instance.get_physical_device_properties2(device, &mut about) };
            let about = about.properties;
            // SAFETY: as above.
            let memory = unsafe { instance.get_physical_device_memory_properties(device) };
            let own = memory
                .memory_heaps_as_slice()
                .iter()
                .filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL))
                .map(|heap| heap.size)
                .max();
            let rank = match about.device_type {
                vk::PhysicalDeviceType::DISCRETE_GPU => 0,
                vk::PhysicalDeviceType::INTEGRATED_GPU => 1,
                vk::PhysicalDeviceType::VIRTUAL_GPU => 2,
                _ => 3,
            };
            let text = |text: Result<&std::ffi::CStr, _>| {
                text.map_or_else(
                    |_| String::new(),
                    |text| text.to_string_lossy().into_owned(),
                )
            };
            let (driver_name, driver_info) = (
                text(driver.driver_name_as_c_str()),
                text(driver.driver_info_as_c_str()),
            );
            let facts = DeviceFacts {
                name: text(about.device_name_as_c_str()),
                driver: [
                    driver_name,
                    driver_info,
                    format!("({})", about.driver_version),
                ]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
                memory_bytes: own.unwrap_or(0),
            };
            (rank, facts)
        })
        .min_by_key(|(rank, _)| *rank);
    // SAFETY: nothing made from the instance is used any more.
    unsafe { instance.destroy_instance(None) };
    best.map(|(_, facts)| facts)
}

/// A driver's text without control characters, cut to what a document takes.
fn plain(text: &str) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text.trim().to_owned()
}
