//! The cache of blobs.

use std::sync::Arc;
use std::time::Duration;

use adit_miner::cache::{BlobCache, CacheError};
use adit_miner::transport::ApiError;
use adit_protocol::Hash;

use crate::support::{Fake, miner_key, open_cache, until};

const KIB: u64 = 1024;

fn blob(number: u8, kib: u64) -> (Hash, Vec<u8>) {
    let bytes = vec![number; (kib * KIB) as usize];
    (Hash::of(&bytes), bytes)
}

fn server(blobs: &[(Hash, Vec<u8>)]) -> Arc<Fake> {
    let fake = Fake::new("c0", Hash::ZERO, miner_key().public().to_bytes());
    fake.state().blobs.extend(blobs.iter().cloned());
    fake
}

fn there(cache: &BlobCache, blobs: &[(Hash, Vec<u8>)]) -> Vec<bool> {
    let has = |(hash, _): &(Hash, Vec<u8>)| cache.store().contains(hash);
    blobs.iter().map(has).collect()
}

#[tokio::test]
async fn the_least_recently_used_goes_first_and_what_is_pinned_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_cache(dir.path(), 100 * KIB);
    let blobs: Vec<_> = (0..5).map(|number| blob(number, 40)).collect();
    let fake = server(&blobs);
    let fetch = async |at: usize| {
        cache
            .fetch(&fake.node(), &*fake, &blobs[at].0, 64 * KIB)
            .await
    };
    fetch(0).await.unwrap();
    fetch(1).await.unwrap();
    // 0 was used last.
    assert!(cache.contains(&blobs[0].0));
    fetch(2).await.unwrap();
    assert_eq!(there(&cache, &blobs), [true, false, true, false, false]);
    let pins = cache.pin([blobs[0].0, blobs[2].0]);
    let full = fetch(3).await;
    assert!(matches!(full, Err(CacheError::Full { .. })), "{full:?}");
    assert_eq!(there(&cache, &blobs), [true, false, true, false, false]);
    drop(pins);
    fetch(3).await.unwrap();
    assert_eq!(there(&cache, &blobs), [false, false, true, true, false]);
    assert!(cache.usage().bytes <= 100 * KIB);

    // After a restart it knows them all, and a lower bound is kept at once.
    drop(cache);
    let cache = open_cache(dir.path(), 100 * KIB);
    assert_eq!((cache.usage().blobs, cache.usage().bytes), (2, 80 * KIB));
    drop(cache);
    let cache = open_cache(dir.path(), 50 * KIB);
    assert_eq!(cache.usage().blobs, 1);
}

#[tokio::test]
async fn what_is_used_once_goes_with_its_last_user() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_cache(dir.path(), 100 * KIB);
    let (hash, bytes) = blob(1, 4);
    let (first, second) = (cache.pin([hash]), cache.pin([hash]));
    cache.put(&bytes, true).unwrap();
    drop(first);
    assert!(cache.contains(&hash));
    drop(second);
    assert!(!cache.contains(&hash) && cache.usage().blobs == 0);
    // Someone wants to keep it: it stays.
    cache.put(&bytes, false).unwrap();
    let pin = cache.pin([hash]);
    cache.put(&bytes, true).unwrap();
    drop(pin);
    assert!(cache.contains(&hash));
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_broke_off_even_in_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = [blob(1, 90)];
    let fake = server(&blobs);
    fake.state().break_off = Some(40_000);
    let hash = blobs[0].0;
    for _ in 0..2 {
        let cache = open_cache(dir.path(), 1000 * KIB);
        let broken = cache.fetch(&fake.node(), &*fake, &hash, 200 * KIB).await;
        assert!(matches!(
            broken,
            Err(CacheError::Api(ApiError::Unreachable(_)))
        ));
    }
    let cache = open_cache(dir.path(), 1000 * KIB);
    cache
        .fetch(&fake.node(), &*fake, &hash, 200 * KIB)
        .await
        .unwrap();
    assert_eq!(fake.state().fetched, 3);
    assert_eq!(cache.store().get(&hash, 200 * KIB).unwrap(), blobs[0].1);
    let left = std::fs::read_dir(dir.path().join("cache/partial")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn other_bytes_and_too_many_bytes_are_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_cache(dir.path(), 1000 * KIB);
    let (hash, _) = blob(1, 40);
    let fake = server(&[(hash, vec![9; 1000])]);
    for _ in 0..2 {
        let refused = cache.fetch(&fake.node(), &*fake, &hash, 64 * KIB).await;
        let mismatch =
            matches!(&refused, Err(CacheError::Api(ApiError::BlobMismatch(h))) if *h == hash);
        assert!(mismatch, "{refused:?}");
        assert!(!cache.contains(&hash));
    }
    // The right bytes come after all.
    fake.state().blobs.insert(hash, blob(1, 40).1);
    let refused = cache.fetch(&fake.node(), &*fake, &hash, 39 * KIB).await;
    assert!(matches!(
        refused,
        Err(CacheError::Api(ApiError::BlobTooLarge { .. }))
    ));
    cache
        .fetch(&fake.node(), &*fake, &hash, 40 * KIB)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_download_serves_all_who_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_cache(dir.path(), 1000 * KIB);
    let blobs = [blob(1, 90)];
    let fake = server(&blobs);
    let fetches = (0..20).map(|_| {
        let (cache, fake) = (cache.clone(), fake.clone());
        let hash = blobs[0].0;
        tokio::spawn(async move { cache.fetch(&fake.node(), &*fake, &hash, 100 * KIB).await })
    });
    for fetch in fetches.collect::<Vec<_>>() {
        let done = tokio::time::timeout(Duration::from_secs(5), fetch).await;
        done.unwrap().unwrap().unwrap();
    }
    assert_eq!(fake.state().fetched, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_does_not_end_holds_up_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_cache(dir.path(), 1000 * KIB);
    let blobs = [blob(1, 90)];
    let hash = blobs[0].0;
    let stuck = Fake::new("stuck", Hash::ZERO, [0; 32]);
    stuck.state().blobs.insert(hash, blobs[0].1.clone());
    stuck.state().never_ends = true;
    let waiting = {
        let (cache, stuck) = (cache.clone(), stuck.clone());
        tokio::spawn(async move { cache.fetch(&stuck.node(), &*stuck, &hash, 100 * KIB).await })
    };
    until("it has begun", || stuck.state().fetched == 1).await;
    let good = server(&blobs);
    let node = good.node();
    let fetch = cache.fetch(&node, &*good, &hash, 100 * KIB);
    let done = tokio::time::timeout(Duration::from_secs(60), fetch).await;
    done.expect("it does not wait for the other").unwrap();
    assert_eq!(cache.store().get(&hash, 200 * KIB).unwrap(), blobs[0].1);
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn what_broke_off_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_cache(dir.path(), 1000 * KIB);
    let blobs: Vec<_> = (0..20).map(|number| blob(number, 90)).collect();
    let fake = server(&blobs);
    fake.state().break_off = Some(60_000);
    for (hash, _) in &blobs {
        cache
            .fetch(&fake.node(), &*fake, hash, 100 * KIB)
            .await
            .unwrap_err();
    }
    let left = std::fs::read_dir(dir.path().join("cache/partial")).unwrap();
    let bytes: u64 = left
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!((60_000..=125 * KIB).contains(&bytes), "{bytes}");
}
