//! Framed messages with file descriptors over a Unix stream socket pair.
//!
//! Supervisor and worker share one socket pair. A frame is
//!
//! ```text
//! length: u32 LE  |  descriptors: u8, 0..=4  |  payload: `length` bytes
//! ```
//!
//! and its descriptors travel with its first byte (`SCM_RIGHTS`, see unix(7)). The kernel never
//! returns bytes from behind a byte that carries descriptors in one read, so they arrive in the
//! order of their frames; the count in the header says whose they are.
//!
//! Both ends treat each other as hostile: lengths are bounded before memory is reserved,
//! descriptors that no header announces are closed and end the channel, received descriptors do
//! not survive an exec. After an error other than [`ChannelError::TimedOut`] while receiving, the
//! position in the stream is unknown and the end stays unusable.
//!
//! Small frames cost one `sendmsg` and one `recvmsg`, and a `poll` where there is something to wait
//! for: whoever waits in `recvmsg` is woken each time that the other end reads, too. Large payloads
//! are written from and read into the caller's memory, with no copy but the kernel's (the first 64 KiB
//! may be copied once more, from the read buffer).

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
    sockopt,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// Largest payload in bytes unless [`Channel::with_max_frame`] says otherwise.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Largest number of descriptors with one frame.
pub const MAX_FDS_PER_FRAME: usize = 4;

/// Largest number of slices that one payload may be gathered from.
pub const MAX_PARTS_PER_FRAME: usize = 7;

const HEADER_BYTES: usize = 5;
const READ_BUFFER_BYTES: usize = 64 << 10;
/// Most bytes of frames that wait for the next one.
const QUEUED_BYTES: usize = 16 << 10;

#[cfg(target_os = "linux")]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
// Rust programs ignore SIGPIPE from the start.
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: SendFlags = SendFlags::empty();
#[cfg(target_os = "linux")]
const RECV_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECV_FLAGS: RecvFlags = RecvFlags::empty();

/// One message.
#[derive(Debug)]
pub struct Frame {
    /// The payload, as the sender gave it.
    pub payload: Vec<u8>,
    /// The descriptors that came with it, at most [`MAX_FDS_PER_FRAME`], closed on exec.
    pub fds: Vec<OwnedFd>,
}

/// Why a frame was not sent or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other end is gone.
    #[error(
        "the other end of the worker channel closed{}; \
         hint: see how the process behind it ended",
        if *.within_frame { " in the middle of a frame" } else { "" }
    )]
    Closed {
        /// Whether a frame had been started.
        within_frame: bool,
    },
    /// A payload over the bound, sent or announced.
    #[error(
        "a frame of {length} bytes is over the bound of {bound}; hint: hand large data over as a descriptor"
    )]
    TooLarge {
        /// Length of the payload in bytes.
        length: u64,
        /// The channel's bound in bytes.
        bound: usize,
    },
    /// Too many descriptors with one frame, sent, announced or attached.
    #[error(
        "{count} descriptors with one frame, {MAX_FDS_PER_FRAME} are the most; hint: split the message"
    )]
    TooManyFds {
        /// How many.
        count: usize,
    },
    /// A payload gathered from too many slices.
    #[error(
        "a payload in {count} parts, {MAX_PARTS_PER_FRAME} are the most; hint: join the small ones"
    )]
    TooManyParts {
        /// How many.
        count: usize,
    },
    /// A header announces descriptors that did not come.
    #[error(
        "a frame announces {announced} descriptors but {received} came; \
         hint: the process may have too many open files"
    )]
    MissingFds {
        /// By the header.
        announced: usize,
        /// Attached.
        received: usize,
    },
    /// Descriptors came that no header announces; they were closed.
    #[error(
        "{count} unannounced descriptors came and were closed; hint: the other end is faulty or hostile"
    )]
    UnexpectedFds {
        /// How many.
        count: usize,
    },
    /// No byte could be moved for the time set by `set_timeout`.
    #[error(
        "nothing moved on the worker channel in the set time; hint: the other end is busy or stuck"
    )]
    TimedOut,
    /// An earlier error left the channel unusable.
    #[error("the worker channel is unusable after an earlier error; hint: replace the worker")]
    Broken,
    /// No memory for a payload within the bound.
    #[error("no memory for a frame of {length} bytes; hint: raise the worker's memory limit")]
    OutOfMemory {
        /// Length of the payload in bytes.
        length: usize,
    },
    /// The descriptor is not a Unix stream socket.
    #[error(
        "the worker channel is not a Unix stream socket; hint: workers are started by the supervisor, not by hand"
    )]
    NotAUnixStream,
    /// The kernel refused something else.
    #[error("could not {step} the worker channel: {source}; hint: replace the worker")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ChannelError {
    /// Whether the other end is gone, in whatever state.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

fn failed(step: &'static str) -> impl Fn(Errno) -> ChannelError {
    move |source| ChannelError::Io {
        step,
        source: source.into(),
    }
}

/// One end of a socket pair, before it is split.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    max_frame: usize,
}

impl Channel {
    /// A new connected pair; both ends close on exec.
    ///
    /// # Errors
    /// [`ChannelError::Io`] if the process has too many open files.
    pub fn pair() -> Result<(Self, Self), ChannelError> {
        #[cfg(target_os = "linux")]
        let flags = SocketFlags::CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = SocketFlags::empty();
        let (left, right) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                .map_err(failed("make"))?;
        Ok((Self::from_fd(left)?, Self::from_fd(right)?))
    }

    /// Takes over one end of a pair, checks what it is, and makes it blocking and closed on exec.
    /// In a worker this comes before the lock-down, which forbids these calls.
    ///
    /// # Errors
    /// [`ChannelError::NotAUnixStream`] for any other descriptor.
    pub fn from_fd(socket: OwnedFd) -> Result<Self, ChannelError> {
        let local = rustix::net::getsockname(&socket).map_err(|_| ChannelError::NotAUnixStream)?;
        let kind = sockopt::socket_type(&socket).map_err(|_| ChannelError::NotAUnixStream)?;
        if local.address_family() != AddressFamily::UNIX || kind != SocketType::STREAM {
            return Err(ChannelError::NotAUnixStream);
        }
        set_close_on_exec(&socket)?;
        let flags = rustix::fs::fcntl_getfl(&socket).map_err(failed("inspect"))?;
        rustix::fs::fcntl_setfl(&socket, flags - rustix::fs::OFlags::NONBLOCK)
            .map_err(failed("make blocking"))?;
        Ok(Self {
            socket,
            max_frame: MAX_FRAME_BYTES,
        })
    }

    /// The channel that the supervisor passed as standard input.
    ///
    /// # Errors
    /// [`ChannelError::NotAUnixStream`] if it is anything else, such as a terminal.
    pub fn from_stdin() -> Result<Self, ChannelError> {
        // A copy under a number of its own: the standard library owns number 0.
        let socket = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|_| ChannelError::NotAUnixStream)?;
        Self::from_fd(socket)
    }

    /// Changes the bound on payloads, in bytes, both ways; both ends should agree.
    pub fn with_max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes.min(u32::MAX as usize);
        self
    }

    /// The socket, to hand it to a child: `Stdio::from` takes it.
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Two halves that may live on different threads. Neither locks: one thread each.
    pub fn split(self) -> (Sender, Receiver) {
        let socket = Arc::new(self.socket);
        let sender = Sender {
            socket: Arc::clone(&socket),
            max_frame: self.max_frame,
            queued: Vec::new(),
            broken: false,
        };
        let receiver = Receiver {
            socket,
            max_frame: self.max_frame,
            timed: false,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            fds: VecDeque::new(),
            current: None,
            broken: false,
        };
        (sender, receiver)
    }
}

fn set_close_on_exec(fd: &OwnedFd) -> Result<(), ChannelError> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC).map_err(failed("protect"))
}

/// The sending half.
#[derive(Debug)]
pub struct Sender {
    socket: Arc<OwnedFd>,
    max_frame: usize,
    /// Whole frames that go out with the next one.
    queued: Vec<u8>,
    broken: bool,
}

impl Sender {
    /// Sends one frame; blocks while the other end does not read.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] if the other end is gone; [`ChannelError::TooLarge`] and
    /// [`ChannelError::TooManyFds`] before anything is sent; [`ChannelError::TimedOut`] after a
    /// [`Sender::set_timeout`], which leaves the half unusable if the frame was begun.
    pub fn send(&mut self, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.send_parts(&[payload], fds)
    }

    /// Like [`Sender::send`], with the payload gathered from slices, so that a header and a large
    /// tensor need not be joined first.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`ChannelError::TooManyParts`].
    pub fn send_parts(
        &mut self,
        parts: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let header = self.header(parts, fds)?;
        let queued = std::mem::take(&mut self.queued);
        // Descriptors travel with the first byte of their own frame.
        if !queued.is_empty() && !fds.is_empty() {
            self.send_all(&mut [IoSlice::new(&queued)], &[])?;
            return self.send_parts(parts, fds);
        }
        let mut slices = [IoSlice::new(&[]); MAX_PARTS_PER_FRAME + 2];
        let all = [&queued[..], &header[..]].into_iter();
        for (slice, part) in slices.iter_mut().zip(all.chain(parts.iter().copied())) {
            *slice = IoSlice::new(part);
        }
        let count = parts.len().saturating_add(2);
        self.send_all(slices.get_mut(..count).unwrap_or_default(), fds)
    }

    /// Has a short frame go out with the next one, so that whoever waits at the other end is woken
    /// once for both.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn queue(&mut self, payload: &[u8]) -> Result<(), ChannelError> {
        let frame = payload.len().saturating_add(HEADER_BYTES);
        if self.queued.len().saturating_add(frame) > QUEUED_BYTES {
            return self.send(payload, &[]);
        }
        let header = self.header(&[payload], &[])?;
        self.queued.extend_from_slice(&header);
        self.queued.extend_from_slice(payload);
        Ok(())
    }

    fn send_all(
        &mut self,
        mut slices: &mut [IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        if self.broken {
            return Err(ChannelError::Broken);
        }
        IoSlice::advance_slices(&mut slices, 0);
        let mut begun = false;
        while !slices.is_empty() {
            let attached = if begun { &[] } else { fds };
            match self.send_some(slices, attached) {
                Ok(sent) => {
                    begun = true;
                    IoSlice::advance_slices(&mut slices, sent);
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.broken = begun;
                    return Err(match error {
                        Errno::PIPE | Errno::CONNRESET => ChannelError::Closed {
                            within_frame: begun,
                        },
                        Errno::AGAIN => ChannelError::TimedOut,
                        other => failed("write to")(other),
                    });
                }
            }
        }
        Ok(())
    }

    /// Bounds the time for which a send waits without moving a byte; `None` waits forever. Not
    /// for use in a locked-down worker.
    ///
    /// # Errors
    /// [`ChannelError::Io`] for a zero time, or where the call is forbidden.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ChannelError> {
        sockopt::set_socket_timeout(&*self.socket, sockopt::Timeout::Send, timeout)
            .map_err(failed("set the send timeout of"))
    }

    /// Ends the channel both ways: a receive that waits on either end returns
    /// [`ChannelError::Closed`].
    pub fn close(&self) {
        // It can only fail because the other end has gone already.
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Both);
    }

    fn header(
        &self,
        parts: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<[u8; HEADER_BYTES], ChannelError> {
        if parts.len() > MAX_PARTS_PER_FRAME {
            return Err(ChannelError::TooManyParts { count: parts.len() });
        }
        let count = fds.len();
        let announced = u8::try_from(count)
            .ok()
            .filter(|_| count <= MAX_FDS_PER_FRAME)
            .ok_or(ChannelError::TooManyFds { count })?;
        let length = parts
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let [a, b, c, d] = u32::try_from(length)
            .ok()
            .filter(|_| length <= self.max_frame)
            .ok_or(ChannelError::TooLarge {
                length: length as u64,
                bound: self.max_frame,
            })?
            .to_le_bytes();
        Ok([a, b, c, d, announced])
    }

    fn send_some(&self, slices: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS_PER_FRAME))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            // Not reached: the space is for as many as the header admits.
            return Err(Errno::INVAL);
        }
        rustix::net::sendmsg(&*self.socket, slices, &mut control, SEND_FLAGS)
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    socket: Arc<OwnedFd>,
    max_frame: usize,
    /// The socket has a time limit.
    timed: bool,
    /// Bytes `start..end` were read and not yet used.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Descriptors that came and are not yet given to a frame, in order.
    fds: VecDeque<OwnedFd>,
    /// A frame whose header was read and whose payload is not complete.
    current: Option<Partial>,
    broken: bool,
}

#[derive(Debug)]
struct Partial {
    frame: Frame,
    length: usize,
}

impl Receiver {
    /// Waits for one whole frame.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the other end is gone; [`ChannelError::TimedOut`] after a
    /// [`Receiver::set_timeout`], and then the call may be repeated without loss; any other error
    /// means that the other end broke the rules, and lasts.
    pub fn recv(&mut self) -> Result<Frame, ChannelError> {
        if self.broken {
            return Err(ChannelError::Broken);
        }
        let result = self.next_frame();
        if let Err(error) = &result {
            let lasting = !matches!(error, ChannelError::TimedOut | ChannelError::Closed { .. });
            self.broken = lasting;
            if lasting {
                self.fds.clear();
                self.current = None;
            }
        }
        result
    }

    /// Bounds the time for which a receive waits without a byte arriving; `None` waits forever.
    /// Not for use in a locked-down worker.
    ///
    /// # Errors
    /// [`ChannelError::Io`] for a zero time, or where the call is forbidden.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ChannelError> {
        sockopt::set_socket_timeout(&*self.socket, sockopt::Timeout::Recv, timeout)
            .map_err(failed("set the receive timeout of"))?;
        self.timed = timeout.is_some();
        Ok(())
    }

    fn next_frame(&mut self) -> Result<Frame, ChannelError> {
        let mut partial = match self.current.take() {
            Some(partial) => partial,
            None => self.read_header()?,
        };
        match self.read_payload(&mut partial) {
            Ok(()) => Ok(partial.frame),
            Err(error) => {
                self.current = Some(partial);
                Err(error)
            }
        }
    }

    fn read_header(&mut self) -> Result<Partial, ChannelError> {
        let header = loop {
            let unused = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(header) = unused.first_chunk::<HEADER_BYTES>() {
                break *header;
            }
            if unused.is_empty() && !self.fds.is_empty() {
                return Err(ChannelError::UnexpectedFds {
                    count: self.fds.len(),
                });
            }
            self.fill()?;
        };
        let [a, b, c, d, announced] = header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let announced = usize::from(announced);
        if length > self.max_frame {
            return Err(ChannelError::TooLarge {
                length: length as u64,
                bound: self.max_frame,
            });
        }
        if announced > MAX_FDS_PER_FRAME {
            return Err(ChannelError::TooManyFds { count: announced });
        }
        if announced > self.fds.len() {
            return Err(ChannelError::MissingFds {
                announced,
                received: self.fds.len(),
            });
        }
        let mut payload = Vec::new();
        payload
            .try_reserve_exact(length)
            .map_err(|_| ChannelError::OutOfMemory { length })?;
        self.start += HEADER_BYTES;
        Ok(Partial {
            frame: Frame {
                payload,
                fds: self.fds.drain(..announced).collect(),
            },
            length,
        })
    }

    /// Takes what the buffer has, then reads the rest straight into the payload.
    fn read_payload(&mut self, partial: &mut Partial) -> Result<(), ChannelError> {
        let payload = &mut partial.frame.payload;
        let buffered = self.buffer.get(self.start..self.end).unwrap_or_default();
        let missing = partial.length.saturating_sub(payload.len());
        let taken = buffered.get(..missing).unwrap_or(buffered);
        payload.extend_from_slice(taken);
        self.start += taken.len();

        while payload.len() < partial.length {
            let missing = partial.length - payload.len();
            let spare = payload.spare_capacity_mut();
            // Never beyond this frame, even if more was reserved than asked for: the next
            // frame's descriptors come with its first byte, and would be lost here.
            let spare = spare.get_mut(..missing).unwrap_or_default();
            // Descriptors attached in the middle of a frame are not asked for, so the kernel
            // closes them.
            let flags = RECV_FLAGS | RecvFlags::WAITALL;
            match rustix::net::recv(&*self.socket, spare, flags) {
                Ok((_, 0)) => return Err(ChannelError::Closed { within_frame: true }),
                Ok((_, count)) => {
                    // SAFETY: the kernel wrote `count` bytes behind the payload's end, and
                    // `count` is at most the length of `spare`, which lies within the capacity.
                    unsafe { payload.set_len(payload.len() + count) };
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(receive_error(error, true)),
            }
        }
        Ok(())
    }

    /// One `recvmsg` into the buffer, which holds less than a header when this is called.
    fn fill(&mut self) -> Result<(), ChannelError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let within_frame = self.end > 0;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS_PER_FRAME))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let flags = match self.timed {
            true => RECV_FLAGS,
            false => RECV_FLAGS | RecvFlags::DONTWAIT,
        };
        let received = loop {
            let mut slices = [IoSliceMut::new(free)];
            match rustix::net::recvmsg(&*self.socket, &mut slices, &mut control, flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.timed => {
                    let mut all = [PollFd::new(&*self.socket, PollFlags::IN)];
                    match poll(&mut all, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(failed("wait on")(error)),
                    }
                }
                Err(error) => return Err(receive_error(error, within_frame)),
            }
        };
        let mut count = 0_usize;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                for fd in fds {
                    #[cfg(not(target_os = "linux"))]
                    set_close_on_exec(&fd)?;
                    count += 1;
                    self.fds.push_back(fd);
                }
            }
        }
        if received.bytes == 0 {
            return Err(ChannelError::Closed { within_frame });
        }
        self.end += received.bytes;
        // The kernel has closed those for which there was no room.
        if count > MAX_FDS_PER_FRAME || received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(ChannelError::TooManyFds {
                count: count.max(MAX_FDS_PER_FRAME + 1),
            });
        }
        // One frame may be read in part and the next one begun; anything above was not announced.
        if self.fds.len() > 2 * MAX_FDS_PER_FRAME {
            return Err(ChannelError::UnexpectedFds {
                count: self.fds.len(),
            });
        }
        Ok(())
    }
}

fn receive_error(error: Errno, within_frame: bool) -> ChannelError {
    match error {
        // The other end closed with something of ours unread.
        Errno::CONNRESET => ChannelError::Closed { within_frame },
        Errno::AGAIN => ChannelError::TimedOut,
        other => failed("read from")(other),
    }
}

#[cfg(test)]
mod tests;
