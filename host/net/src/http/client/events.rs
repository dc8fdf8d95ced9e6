//! Server-sent events (HTML, "Server-sent events"): an answer that goes on for as long as something
//! happens.

use std::collections::VecDeque;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Call, ClientError, error};

/// The longest line of a stream, and the longest event, in bytes: a chunk of output in base64, and
/// room.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its kind; empty if the stream does not say.
    pub kind: String,
    /// What it says: the lines of `data`, with line breaks between.
    pub data: String,
    /// The last id of the stream at this event; empty if there was none.
    pub id: String,
}

/// The events of an answer, as they come.
#[derive(Debug)]
pub struct Events {
    call: Call,
    response: reqwest::Response,
    parser: Parser,
}

impl Call {
    /// Sends the request, once, and reads the answer as a stream of events. The time-out of the
    /// request is that of its beginning, and of each silence after: servers send a comment now and
    /// then. `last_id` is that of the last event of a stream that broke off; the new one goes on
    /// after it, if the server still can.
    ///
    /// # Errors
    /// [`ClientError`]; `Malformed` if the answer is no such stream.
    pub async fn events(self, last_id: Option<&str>) -> Result<Events, ClientError> {
        let mut extra = HeaderMap::new();
        extra.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_id.filter(|id| !id.is_empty()) {
            let id = HeaderValue::from_bytes(id.as_bytes())
                .map_err(|error| ClientError::Build(error.to_string()))?;
            extra.insert(HeaderName::from_static("last-event-id"), id);
        }
        let response = self.within(self.timeout_ms, self.respond(extra)).await?;
        let is_stream = (response.headers().get(CONTENT_TYPE))
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.split(';').next() == Some("text/event-stream"));
        if !is_stream {
            return Err(ClientError::Malformed {
                url: error::shown(&self.url),
                why: "it is no stream of events".to_owned(),
            });
        }
        Ok(Events {
            call: self,
            response,
            parser: Parser::default(),
        })
    }
}

impl Events {
    /// The next event; `None` at the end of the answer.
    ///
    /// # Errors
    /// [`ClientError`], after which there is nothing more to read.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.parser.ready.pop_front() {
                return Ok(Some(event));
            }
            let call = &self.call;
            let chunk = async {
                self.response
                    .chunk()
                    .await
                    .map_err(|error| error::classify(&call.url, call.timeout_ms, error))
            };
            let Some(chunk) = call.within(call.timeout_ms, chunk).await? else {
                // An event that the end has cut off is none.
                return Ok(None);
            };
            self.parser
                .push(&chunk)
                .map_err(|why| ClientError::Malformed {
                    url: error::shown(&call.url),
                    why: why.to_owned(),
                })?;
        }
    }
}

/// Takes a stream of bytes apart.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    /// Whether the last byte was CR, of which a following LF is a part.
    after_cr: bool,
    /// Whether the first line has been seen, which may begin with a byte order mark.
    begun: bool,
    event: Event,
    last_id: String,
    has_data: bool,
    ready: VecDeque<Event>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' => self.end_line()?,
                b'\r' => {
                    self.after_cr = true;
                    self.end_line()?;
                }
                other if self.line.len() < EVENT_BYTES_MAX => self.line.push(*other),
                _ => return Err("a line of it is longer than any event"),
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), &'static str> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| "a line of it is not UTF-8")?;
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            let event = Event {
                id: self.last_id.clone(),
                ..std::mem::take(&mut self.event)
            };
            if std::mem::take(&mut self.has_data) {
                self.ready.push_back(event);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.kind = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                if self.event.data.len().saturating_add(value.len()) > EVENT_BYTES_MAX {
                    return Err("an event of it is too long");
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.last_id = value.to_owned(),
            // Comments, times to connect again, and what a later version may add.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        for piece in pieces {
            parser.push(piece).unwrap();
        }
        let ready = std::mem::take(&mut parser.ready).into_iter();
        ready.map(|event| (event.kind, event.data)).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let event = |kind: &str, data: &str| (kind.to_owned(), data.to_owned());
        assert_eq!(
            events(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]),
            [event("", "YHOO\n+2\n10")]
        );
        assert_eq!(
            events(&[b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"]),
            [event("", "first event"), event("", "second event")]
        );
        assert_eq!(
            events(&[b"data\n\ndata\ndata\n\ndata:"]),
            [event("", ""), event("", "\n")]
        );
        assert_eq!(
            events(&["\u{feff}event: add\r\ndata: 73857293\r\n\r\n".as_bytes()]),
            [event("add", "73857293")]
        );
    }

    #[test]
    fn events_may_be_cut_anywhere_and_must_end() {
        let text = "event: a\r\ndata: \u{e9}\r\rdata: 2\n\n".as_bytes();
        let pieces: Vec<&[u8]> = text.chunks(1).collect();
        let whole = events(&[text]);
        assert_eq!(events(&pieces), whole);
        assert_eq!(whole.len(), 2);
        let mut parser = Parser::default();
        assert!(parser.push(b"data: \xff\n").is_err());
        let mut parser = Parser::default();
        assert!(parser.push(&vec![b'x'; EVENT_BYTES_MAX + 1]).is_err());
        let mut parser = Parser::default();
        let line = [&b"data: "[..], &[b'x'; 1000], b"\n"].concat();
        let all = line.repeat(EVENT_BYTES_MAX / 1000 + 2);
        assert!(parser.push(&all).is_err());
    }
}
