use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/state"), 6)
}

#[test]
fn the_shortest_file_has_defaults() {
    let config = parse("network = 'network.cbor'\n").unwrap();
    let file = NetworkSource::File(PathBuf::from("/state/network.cbor"));
    assert_eq!(config.network, [file]);
    assert_eq!(config.devices, [DeviceConfig::cpu(6)]);
    assert_eq!((config.queue_depth, config.cache_size), (64, 20 << 30));
    assert_eq!((config.metrics, config.coordinators), (None, None));
}

#[test]
fn everything_that_is_documented_is_understood() {
    let text = include_str!("../config.rs");
    // The example at the top of the module, without what stands for a value.
    let example: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! ").or(line.strip_prefix("//!")))
        .skip_while(|line| *line != "```toml")
        .skip(1)
        .take_while(|line| *line != "```")
        .map(|line| format!("{line}\n"))
        .collect();
    let key = format!("0x{}", "ab".repeat(32));
    let hash = format!("blake3:{}", "cd".repeat(32));
    let example = example.replace("0x...", &key).replace("blake3:...", &hash);
    let config = parse(&example).unwrap();
    assert_eq!(config.coordinators, Some(vec![[0xab; 32]]));
    assert_eq!(config.genesis, Some(Hash::from_bytes([0xcd; 32])));
    assert_eq!(config.tls_ca, Some(PathBuf::from("/state/ca.pem")));
    assert_eq!(config.metrics.unwrap().port(), 9465);
    assert_eq!(config.keep, Duration::from_secs(3600));
    let [cpu, gpu] = config.devices.as_slice() else {
        panic!("{:?}", config.devices);
    };
    assert_eq!(
        (cpu.slots, cpu.memory, cpu.provider),
        (4, Some(8 << 30), None)
    );
    assert_eq!(
        (gpu.provider, gpu.hottest_c),
        (Some(Provider::Cuda), Some(85))
    );
    let spec = gpu.spec(|library| match library {
        Some(path) => Ok::<_, ()>(path.join("lib.so")),
        None => Err(()),
    });
    match spec.unwrap().choice {
        DeviceChoice::OnnxRuntime(device) => {
            assert_eq!(device.library, Path::new("/opt/onnxruntime/lib.so"));
            assert_eq!(device.memory_bytes, Some(12 << 30));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_name_line_and_key() {
    let device = "network = 'n'\n[[device]]\nname = 'a'\n";
    for (text, line, words) in [
        ("", 1, "network"),
        ("network = 'n'\nquue-depth = 3\n", 2, "quue-depth"),
        ("network = 'n'\nqueue-depth = 'x'\n", 2, "queue-depth"),
        ("network = 'n'\n\nqueue-depth = 5000\n", 3, "queue-depth"),
        ("network = 'n'\ncache-size = '1MiB'\n", 2, "cache-size"),
        ("network = 'n'\ncache-size = 'lots'\n", 2, "cache-size"),
        ("network = 'n'\nkeep = '1 year'\n", 2, "keep"),
        ("network = 'ftp://x/'\n", 1, "network"),
        ("network = []\n", 1, "network"),
        ("network = 'n'\nmetrics = '0.0.0.0:1'\n", 2, "metrics"),
        ("network = 'n'\nmetrics = 'localhost'\n", 2, "metrics"),
        (
            "network = 'n'\ncoordinators = ['0xab']\n",
            2,
            "coordinators",
        ),
        ("network = 'n'\ncoordinators = []\n", 2, "coordinators"),
        ("network = 'n'\ngenesis = 'blake3:1'\n", 2, "genesis"),
        ("network = 'n'\nlog = 'xml'\n", 2, "log"),
        ("network = \n", 1, ""),
        (&format!("{device}slots = 0\n"), 4, "slots"),
        (&format!("{device}device = 'vulkan'\n"), 4, "webgpu"),
        (&format!("{device}memory = '1XB'\n"), 4, "memory"),
        (&format!("{device}[[device]]\nname = 'a'\n"), 4, "name"),
        (&format!("{device}[[device]]\nname = 'a b'\n"), 5, "name"),
    ] {
        let error = parse(text).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.starts_with(&format!("line {line}: ")),
            "{text:?}: {shown}"
        );
        assert!(shown.contains(words), "{text:?}: {shown}");
    }
}

#[test]
fn an_address_without_a_path_is_that_of_a_coordinator() {
    let of = |text| NetworkSource::parse(text).unwrap().to_string();
    assert_eq!(
        of("https://c.example:8420"),
        "https://c.example:8420/v1/network"
    );
    assert_eq!(
        of("https://c.example/net.cbor"),
        "https://c.example/net.cbor"
    );
    assert_eq!(of("net.cbor"), "net.cbor");
}
