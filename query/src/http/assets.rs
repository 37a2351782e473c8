//! The page: built files, embedded. Knows nothing of the API.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::RustEmbed;

/// What Vite built; `ui/dist` is committed, so that building us needs no npm.
#[derive(RustEmbed)]
#[folder = "../ui/dist"]
struct Dist;

/// What the page may load: its own files, and nothing inline. No text ever becomes markup or script: sinks take none, and
/// there is no policy of trusted types that could make one they take.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
    data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// Addresses at which the page begins; which of its views that is, it sees for itself.
const PAGES: [&str; 2] = ["/", "/audit"];

/// Answers every path that is not the API's.
pub(super) async fn serve(request: Request) -> Response {
    let mut response = if matches!(*request.method(), Method::GET | Method::HEAD) {
        file(request.uri().path(), request.headers())
    } else {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    };
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    // Exact names only: nothing is decoded, joined or resolved.
    let is_page = PAGES.contains(&path);
    let name = if is_page { "index.html" } else { path.trim_start_matches('/') };
    let is_known = is_page || (path.starts_with('/') && !path.starts_with("//") && name != "index.html");
    let Some(file) = Dist::get(name).filter(|_| is_known) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    let hash = file.metadata.sha256_hash();
    let etag = format!("\"{}\"", HEXLOWER.encode(hash.get(..16).unwrap_or(&hash)));
    // Vite puts a hash into the names of what it builds.
    let caching =
        if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let is_same = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let caching = [(header::ETAG, etag), (header::CACHE_CONTROL, caching.to_owned())];
    if is_same {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, content_type(name))], file.data.into_owned()).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Response {
        file(path, &HeaderMap::new())
    }

    #[test]
    fn the_page_and_its_files() {
        let page = get("/");
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, page.headers()[header::ETAG].clone());
        assert_eq!(file("/", &headers).status(), StatusCode::NOT_MODIFIED);
        for name in Dist::iter().filter(|name| name.starts_with("assets/")) {
            let asset = get(&format!("/{name}"));
            assert_eq!(asset.status(), StatusCode::OK, "{name}");
            assert!(asset.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
            assert_ne!(asset.headers()[header::CONTENT_TYPE], "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn nothing_else() {
        for path in [
            "/index.html",
            "/nothing",
            "//",
            "//index.html",
            "/../Cargo.toml",
            "/assets/../index.html",
            "/assets/",
            "/assets",
            "/%2e%2e/Cargo.toml",
            "/assets/..%2findex.html",
            "/index.html/",
            "",
        ] {
            assert_eq!(get(path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
