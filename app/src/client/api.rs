//! Calls to the query API, and its errors in words for the person who called.

use std::path::Path;

use anyhow::{Context, anyhow};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cli::Server;
use crate::exit::{Failure, Outcome};

/// A server and who we are there.
pub(super) struct Api {
    http: Client,
    base: String,
    authorization: Option<HeaderValue>,
}

/// The body of an error answer.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorWords,
}

/// What the server says is wrong.
#[derive(Deserialize)]
struct ErrorWords {
    message: String,
    hint: Option<String>,
    /// Where in the query, in characters from 0.
    position: Option<usize>,
}

/// The server answered, and not with what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Refused {
    words: String,
    /// Whether the same will be answered again: not where the server, or what stands before it, is in trouble.
    pub(super) is_lasting: bool,
}

impl Api {
    /// The API of a server.
    pub(super) fn new(server: &Server) -> Outcome<Self> {
        let authorization = match &server.token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                    .map_err(|_| Failure::Usage(anyhow!("the token holds characters that no token has")))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        // HTTP/1.1, which the live tail's upgrade needs.
        let mut builder = Client::builder().http1_only();
        if let Some(path) = &server.ca_file {
            builder = builder.tls_certs_merge(authorities(path).map_err(Failure::Usage)?);
        }
        let http = builder.build().context("cannot set up HTTP")?;
        Ok(Self { http, base: server.url.trim_end_matches('/').to_owned(), authorization })
    }

    /// A request that carries our credential.
    pub(super) fn request(&self, route: &str, parameters: &[(&str, String)]) -> RequestBuilder {
        let request = self.http.get(format!("{}/api/v1/{route}", self.base)).query(parameters);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// Sends a request; anything but success is a failure in words. `query` is shown where a mistake lies in it.
    pub(super) async fn send(&self, request: RequestBuilder, query: &str) -> Outcome<Response> {
        let answer = request.send().await.map_err(|e| {
            let words = if e.is_connect() {
                format!("cannot reach {}: is the server running there? (--url, HELIOGRAPH_URL)", self.base)
            } else if e.is_builder() {
                return Failure::Usage(anyhow!("{:?} is not the address of a server", self.base));
            } else {
                format!("{} did not answer", self.base)
            };
            Failure::Failed(anyhow::Error::new(e.without_url()).context(words))
        })?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let body = answer.text().await.unwrap_or_default();
        Err(failure(status, &body, query))
    }

    /// Asks for something.
    pub(super) async fn get(
        &self,
        route: &str,
        parameters: &[(&str, String)],
        query: &str,
    ) -> Outcome<Response> {
        self.send(self.request(route, parameters), query).await
    }

    /// Asks for something that is JSON.
    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        route: &str,
        parameters: &[(&str, String)],
        query: &str,
    ) -> Outcome<T> {
        let bytes =
            self.get(route, parameters, query).await?.bytes().await.context("the answer broke off")?;
        Ok(serde_json::from_slice(&bytes).context("the answer is not what a Heliograph server gives")?)
    }
}

/// What a PEM file says whom to trust.
fn authorities(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let at = || format!("--ca-file {}", path.display());
    let found = Certificate::from_pem_bundle(&std::fs::read(path).with_context(at)?).with_context(at)?;
    if found.is_empty() {
        return Err(anyhow!("{}: it has no certificate: give PEM", at()));
    }
    Ok(found)
}

fn failure(status: StatusCode, body: &str, query: &str) -> Failure {
    let is_lasting = !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS);
    let refused = |words| Failure::Failed(Refused { words, is_lasting }.into());
    let Ok(ErrorBody { error }) = serde_json::from_str(body) else {
        return refused(format!("the server answered {status}"));
    };
    let mut words = error.message;
    if status == StatusCode::UNAUTHORIZED {
        words.push_str(" (--token, HELIOGRAPH_TOKEN)");
    }
    if let Some(position) = error.position {
        words.push_str(&format!("\n  {query}\n  {}^", " ".repeat(position)));
    }
    if let Some(hint) = error.hint {
        words.push_str(&format!("\nhint: {hint}"));
    }
    match status {
        StatusCode::BAD_REQUEST => Failure::Usage(anyhow!(words)),
        _ => refused(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_query_is_pointed_at() {
        let body = r#"{"error":{"code":"syntax","message":"the quote is not closed","hint":"close it","position":4}}"#;
        let Failure::Usage(e) = failure(StatusCode::BAD_REQUEST, body, "abc \"d") else {
            panic!("not usage")
        };
        assert_eq!(e.to_string(), "the quote is not closed\n  abc \"d\n      ^\nhint: close it");
    }

    #[test]
    fn an_answer_of_something_else_is_not_shown() {
        let Failure::Failed(e) = failure(StatusCode::BAD_GATEWAY, "<html>", "") else { panic!("usage") };
        assert_eq!(e.to_string(), "the server answered 502 Bad Gateway");
    }

    #[test]
    fn trouble_is_told_from_a_refusal_that_lasts() {
        let body = r#"{"error":{"code":"c","message":"m"}}"#;
        for (status, lasts) in [(401, true), (403, true), (429, false), (500, false), (503, false)] {
            let Failure::Failed(e) = failure(StatusCode::from_u16(status).unwrap(), body, "") else {
                panic!("usage")
            };
            assert_eq!(e.downcast_ref::<Refused>().unwrap().is_lasting, lasts, "{status}");
        }
    }
}
