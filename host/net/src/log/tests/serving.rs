//! What the router gives out, and what it does not.

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::super::router;
use super::*;

fn get(router: &axum::Router, path: &str, headers: &[(&str, &str)]) -> (Response<()>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        (Response::from_parts(parts, ()), bytes)
    })
}

fn place() -> Place {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 700);
    integrate_all(&mut db, &mut log);
    place
}

#[test]
fn checkpoints_are_asked_for_again() {
    let place = place();
    let router = router(place.log_folder());
    let (answer, bytes) = get(&router, "/checkpoint", &[]);
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(bytes, place.note().to_string().as_bytes());
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    let etag = answer.headers()["etag"].to_str().unwrap();
    for tag in [etag.to_owned(), format!("\"x\", W/{etag}")] {
        let (answer, bytes) = get(&router, "/checkpoint", &[("if-none-match", &tag)]);
        assert_eq!(
            (answer.status(), bytes.len()),
            (StatusCode::NOT_MODIFIED, 0)
        );
    }
    let (answer, _) = get(&router, "/checkpoint", &[("if-none-match", "\"x\"")]);
    assert_eq!(answer.status(), StatusCode::OK);
    let (answer, _) = get(&router, "/cosigned", &[]);
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[test]
fn tiles_never_change() {
    let place = place();
    let router = axum::Router::new().nest("/log", router(place.log_folder()));
    for tile in adit_protocol::log::tile::tiles(700) {
        let (answer, bytes) = get(&router, &format!("/log/{tile}"), &[]);
        let path = place.log_folder().join(tile.to_string());
        assert_eq!(bytes, std::fs::read(path).unwrap(), "{tile}");
        let headers = answer.headers();
        assert_eq!(
            headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert_eq!(headers["content-type"], "application/octet-stream");
        assert_eq!(headers["content-length"], bytes.len().to_string());
    }
}

#[test]
fn nothing_else_is_reached() {
    let place = place();
    std::fs::write(place.path().join("secret"), "x").unwrap();
    std::fs::create_dir_all(place.log_folder().join("tile/0/x001")).unwrap();
    std::fs::create_dir_all(place.log_folder().join("tile/0/005")).unwrap();
    let router = router(place.log_folder());
    for path in [
        "/",
        "/lock",
        "/tmp/new",
        "/tile/",
        "/tile/0",
        "/tile/0/000/",
        "/tile/0/002",
        "/tile/0/005",
        "/tile/0/x001",
        "/tile/0/00%30",
        "/tile/0//000",
        "//tile/0/000",
        "/tile/0/../0/000",
        "/tile/../../secret",
        "/tile/..%2f..%2fsecret",
        "/tile/%2e%2e/%2e%2e/secret",
        "/tile/0/000.p/256",
        "/tile/0/000.p/0",
        "/tile/00/000",
        "/tile/8/000",
        "/tile/-1/000",
        "/tile/0/x000/000",
        "/tile/entries/000%00",
    ] {
        let (answer, bytes) = get(&router, path, &[]);
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(bytes.len() < 2000);
    }
}
