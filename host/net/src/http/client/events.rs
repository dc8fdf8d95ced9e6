//! Server-sent events (WHATWG HTML, 9.2): what happens to a task, as it happens.

use std::collections::VecDeque;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Call, ClientError, error};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` where the server gives none.
    pub name: String,
    /// Its data, several lines joined by line feeds.
    pub data: String,
    /// The id to continue behind, as far as the server has given one.
    pub id: Option<String>,
}

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    call: Call,
    response: reqwest::Response,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl Call {
    /// Continues a stream of events behind the event of this id.
    pub fn last_event_id(self, id: &str) -> Call {
        match HeaderValue::try_from(id) {
            Ok(value) => self.header(HeaderName::from_static("last-event-id"), value),
            // An id that is no header value was never given by a server: all events come again.
            Err(_) => self,
        }
    }

    /// Opens a stream of events. The time of the call is that for its begin, and for each silence
    /// after that: servers send a comment now and then. An event may have as many bytes as an
    /// answer. Only the begin is tried repeatedly.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(self) -> Result<Events, ClientError> {
        let accept = HeaderValue::from_static("text/event-stream");
        let call = self.header(ACCEPT, accept);
        let mut failed = 0;
        let response = loop {
            let begin = call.within(call.timeout_ms, call.respond(HeaderMap::new()));
            match begin.await {
                Ok(response) => break response,
                Err(error) => call.before_repeating(error, &mut failed).await?,
            }
        };
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("text/event-stream"));
        if !is_stream {
            return Err(ClientError::Malformed {
                url: error::shown(&call.url),
                why: "it is no stream of events".to_owned(),
            });
        }
        Ok(Events {
            parser: Parser::new(call.answer_bytes_max),
            call,
            response,
            ready: VecDeque::new(),
        })
    }
}

impl Events {
    /// The next event, or `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ClientError`]. What comes after is not to be relied on: open the stream again, behind the
    /// id of the last event.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.call.chunk(&mut self.response).await? else {
                return Ok(None);
            };
            if !self.parser.feed(&chunk, &mut self.ready) {
                return Err(ClientError::TooLarge {
                    url: error::shown(&self.call.url),
                    bytes_max: self.parser.bytes_max as u64,
                });
            }
        }
    }
}

/// Takes events out of bytes.
#[derive(Clone, Debug)]
struct Parser {
    bytes_max: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return, so that a line feed now belongs to it.
    after_return: bool,
    first_line: bool,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
}

impl Parser {
    fn new(bytes_max: usize) -> Parser {
        Parser {
            bytes_max,
            line: Vec::new(),
            after_return: false,
            first_line: true,
            name: String::new(),
            data: String::new(),
            has_data: false,
            id: None,
        }
    }

    /// Takes bytes; false if a line or an event is above the bound.
    fn feed(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) -> bool {
        for byte in bytes {
            let second_half = std::mem::take(&mut self.after_return) && *byte == b'\n';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.end_line(events);
                }
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > self.bytes_max {
                return false;
            }
        }
        true
    }

    fn end_line(&mut self, events: &mut VecDeque<Event>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match std::mem::take(&mut self.first_line) {
            true => line.strip_prefix('\u{feff}').unwrap_or(&line),
            false => &line,
        };
        if line.is_empty() {
            return self.dispatch(events);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // A comment, `retry`, which is ours to decide, or a field of the future.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut VecDeque<Event>) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            events.push_back(Event {
                name: match name.is_empty() {
                    true => "message".to_owned(),
                    false => name,
                },
                data,
                id: self.id.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Vec<(String, String, Option<String>)> {
        let mut events = VecDeque::new();
        assert!(Parser::new(1000).feed(text.as_bytes(), &mut events));
        let fields = |event: Event| (event.name, event.data, event.id);
        events.into_iter().map(fields).collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let message = |data: &str| ("message".to_owned(), data.to_owned(), None);
        assert_eq!(
            parsed("data: YHOO\ndata: +2\ndata: 10\n\n"),
            [message("YHOO\n+2\n10")]
        );
        let read = parsed(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        );
        let with_id = |data: &str, id: &str| (message("").0, data.to_owned(), Some(id.to_owned()));
        assert_eq!(
            read,
            [
                with_id("first event", "1"),
                with_id("second event", ""),
                with_id(" third event", ""),
            ]
        );
        assert_eq!(
            parsed("data\n\ndata\ndata\n\ndata:"),
            [message(""), message("\n")]
        );
        assert_eq!(parsed("\u{feff}data:test\r\n\r\ndata: test\r\r").len(), 2);
        assert_eq!(parsed("event: add\ndata: 1\n\n")[0].0, "add");
        assert_eq!(parsed("event: add\n\n"), []);
    }

    #[test]
    fn events_are_bounded() {
        let mut events = VecDeque::new();
        let mut parser = Parser::new(100);
        assert!(!parser.feed(&[b'x'; 101], &mut events));
        let mut parser = Parser::new(100);
        assert!(!parser.feed("data: 12345\n".repeat(30).as_bytes(), &mut events));
        let mut parser = Parser::new(100);
        assert!(parser.feed("data: 12345\n\n".repeat(30).as_bytes(), &mut events));
        assert_eq!(events.len(), 30);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(
            text in "((data|event|id|x)?:? ?[a-z\u{e4}]{0,5}(\r|\n|\r\n){1,2}){0,20}",
            cut in 1..7usize,
        ) {
            let mut whole = VecDeque::new();
            Parser::new(1000).feed(text.as_bytes(), &mut whole);
            let (mut parser, mut parts) = (Parser::new(1000), VecDeque::new());
            for part in text.as_bytes().chunks(cut) {
                parser.feed(part, &mut parts);
            }
            prop_assert_eq!(whole, parts);
        }
    }
}
