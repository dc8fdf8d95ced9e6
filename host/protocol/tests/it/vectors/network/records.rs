//! How a miner's record and its quality come about; classes of round trips.

use adit_protocol::network::draw::{Record, locality_class, locality_factor_ppm};
use serde_json::{Value, json};

use super::members::number;
use crate::vectors::kind::{Bad, Good, Kind, Refusal, json_file, parse};

/// What happened to a miner's results, in order, each so many times.
const EVENTS: [&str; 3] = ["agreed", "accepted", "failed"];

fn record_of(events: &[(&str, u32)]) -> Record {
    let mut record = Record::default();
    for (event, count) in events {
        for _ in 0..*count {
            match *event {
                "agreed" => record.accepted(true),
                "accepted" => record.accepted(false),
                _ => record.failed(),
            }
        }
    }
    record
}

fn record_value(record: &Record) -> Value {
    json!({ "good": record.good, "bad": record.bad, "streak": record.streak })
}

pub fn records() -> Kind {
    let file = |events: &[(&str, u32)], quality: u64| {
        json_file(json!({ "events": events, "quality_ppm": quality }))
    };
    let good = [
        ("new", vec![]),
        ("first-failed", vec![("failed", 1)]),
        ("first-accepted", vec![("accepted", 1)]),
        ("trusted", vec![("agreed", 10)]),
        ("streak-ended", vec![("agreed", 12), ("failed", 1)]),
        (
            "accepted-keeps-a-streak",
            vec![("agreed", 3), ("accepted", 4), ("agreed", 1)],
        ),
        ("before-halving", vec![("accepted", 255)]),
        ("halved", vec![("accepted", 256)]),
        (
            "halved-with-an-odd-one",
            vec![("failed", 3), ("agreed", 253)],
        ),
        ("forgiven", vec![("failed", 20), ("agreed", 2000)]),
        ("hopeless", vec![("failed", 1000)]),
    ];
    let good = good.map(|(name, events)| {
        let record = record_of(&events);
        let file = file(&events, record.quality_ppm());
        Good::new(name, file, record_value(&record))
    });
    let wrong = |name, events: &[(&str, u32)], quality, why| {
        let expected = record_of(events).quality_ppm();
        assert_ne!(quality, expected, "{name}");
        let refusal = Refusal {
            error: "quality",
            detail: json!({ "expected": expected }),
        };
        Bad::new(name, file(events, quality), refusal, why)
    };
    let bad = vec![
        wrong(
            "rounded-up",
            &[("failed", 1)],
            666_667,
            "the quality is rounded down",
        ),
        wrong(
            "without-the-head-start",
            &[("accepted", 4), ("failed", 1)],
            500_000,
            "each miner begins with eight good results",
        ),
        wrong(
            "failures-count-once",
            &[("accepted", 10), ("failed", 2)],
            900_000,
            "a failure counts as much as four good results",
        ),
        wrong(
            "not-halved",
            &[("failed", 6), ("accepted", 250)],
            914_893,
            "from 256 results on the older ones count half",
        ),
    ];
    Kind {
        name: "miner-records",
        extension: "json",
        about: "How a miner's record and its quality come about: results that agreed with another miner's, that were accepted alone, that failed.",
        good: good.into(),
        bad,
        check: |file, _| {
            let file = parse(file);
            let events = file["events"].as_array().expect("a list");
            let event = |event: &Value| {
                let name = event[0].as_str().expect("a name");
                let known = EVENTS.into_iter().find(|known| *known == name);
                (known.expect("a known event"), number(&event[1]) as u32)
            };
            let record = record_of(&events.iter().map(event).collect::<Vec<_>>());
            let expected = record.quality_ppm();
            match number(&file["quality_ppm"]) == expected {
                true => Ok(record_value(&record)),
                false => Err(Refusal {
                    error: "quality",
                    detail: json!({ "expected": expected }),
                }),
            }
        },
        errors: &[("quality", &["quality"])],
    }
}

pub fn localities() -> Kind {
    let file = |round_trip: Option<u64>, class: u8| {
        let round_trip = round_trip.map(|us| us.to_string());
        json_file(json!({ "round_trip_us": round_trip, "class": class }))
    };
    let times = [
        0,
        4_999,
        5_000,
        19_999,
        20_000,
        59_999,
        60_000,
        149_999,
        150_000,
        u64::MAX,
    ];
    let mut good: Vec<(String, Option<u64>)> = (times.into_iter())
        .map(|us| (format!("us-{us}"), Some(us)))
        .collect();
    good.push(("never-measured".into(), None));
    let good = good.into_iter().map(|(name, round_trip)| {
        let class = locality_class(round_trip);
        let value = json!({ "factor_ppm": locality_factor_ppm(class) });
        Good::new(&name, file(round_trip, class), value)
    });
    let wrong = |name, round_trip, class, why| {
        let refusal = Refusal {
            error: "locality",
            detail: json!({ "expected": locality_class(round_trip) }),
        };
        Bad::new(name, file(round_trip, class), refusal, why)
    };
    Kind {
        name: "localities",
        extension: "json",
        about: "Classes of round trips in microseconds, and the factors of weights where the client is in the coordinator's region.",
        good: good.collect(),
        bad: vec![
            wrong(
                "end-of-a-class",
                Some(5_000),
                0,
                "5 ms are no longer below 5 ms",
            ),
            wrong(
                "never-measured",
                None,
                0,
                "what was never measured is not near",
            ),
            wrong("far-as-near", Some(151_000), 3, "151 ms are the last class"),
        ],
        check: |file, _| {
            let file = parse(file);
            let round_trip = match &file["round_trip_us"] {
                Value::Null => None,
                value => Some(number(value)),
            };
            let expected = locality_class(round_trip);
            match number(&file["class"]) == u64::from(expected) {
                true => Ok(json!({ "factor_ppm": locality_factor_ppm(expected) })),
                false => Err(Refusal {
                    error: "locality",
                    detail: json!({ "expected": expected }),
                }),
            }
        },
        errors: &[("locality", &["locality"])],
    }
}
