//! The channel between honest ends and against a raw, hostile one.

use super::super::counting::peak_bytes;
use super::*;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;

fn halves() -> ((Sender, Receiver), (Sender, Receiver)) {
    let (left, right) = Channel::pair().unwrap();
    (left.split(), right.split())
}

/// A raw peer, to send what a `Sender` never would.
fn raw() -> (UnixStream, Receiver) {
    let (left, right) = Channel::pair().unwrap();
    (UnixStream::from(left.into_fd()), right.split().1)
}

fn raw_send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SEND_FLAGS);
    assert_eq!(sent.unwrap(), bytes.len());
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn content(fd: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::from(fd).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Whether every copy of a pipe's writing end is closed.
fn is_closed(reader: &std::io::PipeReader) -> bool {
    let flags = rustix::fs::fcntl_getfl(reader).unwrap();
    rustix::fs::fcntl_setfl(reader, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    matches!({ reader }.read(&mut [0]), Ok(0))
}

#[test]
fn queued_frames_go_out_with_the_next_and_before_it() {
    let ((mut sender, _), (_, mut receiver)) = halves();
    receiver
        .set_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    sender.queue(b"one").unwrap();
    sender.queue(b"").unwrap();
    let nothing = receiver.recv().unwrap_err();
    assert!(matches!(nothing, ChannelError::TimedOut));
    receiver.set_timeout(None).unwrap();
    sender.send(b"three", &[]).unwrap();
    for expected in [&b"one"[..], b"", b"three"] {
        assert_eq!(receiver.recv().unwrap().payload, expected);
    }
    // Descriptors stay with their own frame.
    sender.queue(b"before").unwrap();
    sender.send(b"with", &[file(b"a file").as_fd()]).unwrap();
    let before = receiver.recv().unwrap();
    assert!(before.payload == b"before" && before.fds.is_empty());
    let mut with = receiver.recv().unwrap();
    assert_eq!(content(with.fds.remove(0)), b"a file");
    // What is too much to wait goes out, behind what waited.
    sender.queue(b"small").unwrap();
    sender.queue(&[7; QUEUED_BYTES]).unwrap();
    assert_eq!(receiver.recv().unwrap().payload, b"small");
    assert_eq!(receiver.recv().unwrap().payload.len(), QUEUED_BYTES);
    // One that is over the bound leaves the others as they are.
    sender.queue(b"kept").unwrap();
    sender.max_frame = 100;
    let refused = sender.queue(&[0; 101]).unwrap_err();
    assert!(matches!(refused, ChannelError::TooLarge { .. }));
    let refused = sender.send(&[0; 101], &[]).unwrap_err();
    assert!(matches!(refused, ChannelError::TooLarge { .. }));
    sender.send(b"last", &[]).unwrap();
    assert_eq!(receiver.recv().unwrap().payload, b"kept");
    assert_eq!(receiver.recv().unwrap().payload, b"last");
}

#[test]
fn frames_of_all_sizes_arrive_in_order() {
    let ((mut sender, _), (_, mut receiver)) = halves();
    let sizes = [
        0,
        1,
        5,
        1024,
        65_530,
        65_531,
        65_536,
        200_000,
        0,
        5 << 20,
        3,
    ];
    let writer = std::thread::spawn(move || {
        for size in sizes {
            sender.send(&vec![size as u8; size], &[]).unwrap();
        }
    });
    for size in sizes {
        let frame = receiver.recv().unwrap();
        assert_eq!(frame.payload, vec![size as u8; size]);
        assert!(frame.fds.is_empty());
    }
    writer.join().unwrap();
    assert!(matches!(
        receiver.recv(),
        Err(ChannelError::Closed {
            within_frame: false
        })
    ));
}

#[test]
fn descriptors_reach_their_own_frame() {
    let ((mut sender, _), (_, mut receiver)) = halves();
    let files: Vec<_> = (0..6_u8).map(|index| file(&[index])).collect();
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    // All are in the socket before the first is read, so that reads could mix them up.
    sender.send(b"none", &[]).unwrap();
    sender.send(b"one", &fds[..1]).unwrap();
    sender.send(b"four", &fds[1..5]).unwrap();
    sender.send(b"none again", &[]).unwrap();
    sender.send_parts(&[b"la", b"", b"st"], &fds[5..]).unwrap();
    let mut next = 0;
    for (payload, count) in [
        ("none", 0),
        ("one", 1),
        ("four", 4),
        ("none again", 0),
        ("last", 1),
    ] {
        let frame = receiver.recv().unwrap();
        assert_eq!(frame.payload, payload.as_bytes());
        assert_eq!(frame.fds.len(), count);
        for fd in frame.fds {
            let flags = rustix::io::fcntl_getfd(&fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            assert_eq!(content(fd), [next]);
            next += 1;
        }
    }
}

#[test]
fn a_frame_in_single_bytes_is_one_frame() {
    let (socket, mut receiver) = raw();
    let file = file(b"x");
    let writer = std::thread::spawn(move || {
        for (index, byte) in [3, 0, 0, 0, 1, b'a', b'b', b'c'].into_iter().enumerate() {
            let fds = if index == 0 {
                vec![file.as_fd()]
            } else {
                vec![]
            };
            raw_send(&socket, &[byte], &fds);
            std::thread::sleep(Duration::from_millis(1));
        }
        socket
    });
    let frame = receiver.recv().unwrap();
    assert_eq!((&frame.payload[..], frame.fds.len()), (&b"abc"[..], 1));
    drop(writer.join().unwrap());
    assert!(receiver.recv().unwrap_err().is_closed());
}

#[test]
fn a_timeout_loses_nothing() {
    let (socket, mut receiver) = raw();
    receiver
        .set_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    for piece in [&[4, 0][..], &[0, 0, 0], b"ab", b"cd"] {
        assert!(matches!(receiver.recv(), Err(ChannelError::TimedOut)));
        raw_send(&socket, piece, &[]);
    }
    assert_eq!(receiver.recv().unwrap().payload, b"abcd");
}

#[test]
fn a_sender_that_is_not_read_times_out() {
    let ((mut sender, _), _other) = halves();
    sender.set_timeout(Some(Duration::from_millis(10))).unwrap();
    let payload = vec![0; 8 << 20];
    assert!(matches!(
        sender.send(&payload, &[]),
        Err(ChannelError::TimedOut)
    ));
    assert!(matches!(sender.send(b"", &[]), Err(ChannelError::Broken)));
}

#[test]
fn bounds_hold_at_both_ends() {
    let (left, right) = Channel::pair().unwrap();
    let (mut sender, _) = left.with_max_frame(10).split();
    let (_, mut receiver) = right.with_max_frame(5).split();
    let error = sender.send(&[0; 11], &[]).unwrap_err();
    assert!(matches!(
        error,
        ChannelError::TooLarge {
            length: 11,
            bound: 10
        }
    ));
    let stdin = io::stdin();
    let error = sender.send(b"", &[stdin.as_fd(); 5]).unwrap_err();
    assert!(matches!(error, ChannelError::TooManyFds { count: 5 }));
    let error = sender.send_parts(&[&b""[..]; 8], &[]).unwrap_err();
    assert!(matches!(error, ChannelError::TooManyParts { count: 8 }));
    // Nothing of these was sent, and the sender is still usable.
    sender.send(b"12345", &[]).unwrap();
    sender.send(b"123456", &[]).unwrap();
    assert_eq!(receiver.recv().unwrap().payload, b"12345");
    let error = receiver.recv().unwrap_err();
    assert!(matches!(
        error,
        ChannelError::TooLarge {
            length: 6,
            bound: 5
        }
    ));
    assert!(matches!(receiver.recv(), Err(ChannelError::Broken)));
}

#[test]
fn a_huge_announcement_is_refused_before_memory_is_reserved() {
    let (socket, mut receiver) = raw();
    raw_send(&socket, &[0xFF; HEADER_BYTES], &[]);
    assert!(matches!(
        receiver.recv(),
        Err(ChannelError::TooLarge { .. })
    ));
}

#[test]
fn hostile_descriptors_are_closed() {
    type Expected = fn(&ChannelError) -> bool;
    let cases: [(u8, usize, Expected); 5] = [
        (1, 0, |error| {
            matches!(
                error,
                ChannelError::MissingFds {
                    announced: 1,
                    received: 0
                }
            )
        }),
        // Noticed when the frame after it is asked for.
        (0, 2, |error| {
            matches!(error, ChannelError::UnexpectedFds { count: 2 })
        }),
        (5, 4, |error| {
            matches!(error, ChannelError::TooManyFds { count: 5 })
        }),
        (4, 5, |error| {
            matches!(error, ChannelError::TooManyFds { .. })
        }),
        (4, 16, |error| {
            matches!(error, ChannelError::TooManyFds { .. })
        }),
    ];
    for (announced, attached, expected) in cases {
        let (socket, mut receiver) = raw();
        let (reader, writer) = std::io::pipe().unwrap();
        let fds = vec![writer.as_fd(); attached];
        raw_send(&socket, &[0, 0, 0, 0, announced], &fds);
        drop(writer);
        let error = receiver.recv().and_then(|_| receiver.recv()).unwrap_err();
        assert!(expected(&error), "{error}");
        assert!(
            is_closed(&reader),
            "{announced} announced, {attached} attached"
        );
    }
}

#[test]
fn descriptors_within_a_payload_are_closed_by_the_kernel() {
    let (socket, mut receiver) = raw();
    let (reader, writer) = std::io::pipe().unwrap();
    // The payload is longer than the read buffer, so its end is read straight into place.
    let length = READ_BUFFER_BYTES + 4;
    let mut bytes = u32::try_from(length).unwrap().to_le_bytes().to_vec();
    bytes.push(0);
    bytes.resize(HEADER_BYTES + READ_BUFFER_BYTES, 7);
    raw_send(&socket, &bytes, &[]);
    raw_send(&socket, &[7; 4], &[writer.as_fd(); 4]);
    drop(writer);
    assert!(!is_closed(&reader), "they are in the socket");
    let frame = receiver.recv().unwrap();
    assert_eq!((frame.payload.len(), frame.fds.len()), (length, 0));
    assert!(is_closed(&reader));
}

#[test]
fn an_end_within_a_frame_is_told_apart() {
    for cut in 1..8 {
        let (socket, mut receiver) = raw();
        raw_send(&socket, &[3, 0, 0, 0, 0, b'a', b'b', b'c'][..cut], &[]);
        drop(socket);
        assert!(matches!(
            receiver.recv(),
            Err(ChannelError::Closed { within_frame: true })
        ));
    }
}

#[test]
fn a_gone_reader_and_a_closed_channel_are_told() {
    let ((mut sender, receiver), other) = halves();
    drop(other);
    assert!(sender.send(b"x", &[]).unwrap_err().is_closed());
    drop(receiver);
    let ((sender, mut receiver), _other) = halves();
    let waiting = std::thread::spawn(move || receiver.recv().unwrap_err().is_closed());
    sender.close();
    assert!(waiting.join().unwrap());
}

#[test]
fn other_descriptors_are_refused() {
    let refused = |fd: OwnedFd| matches!(Channel::from_fd(fd), Err(ChannelError::NotAUnixStream));
    assert!(refused(file(b"").into()));
    assert!(refused(
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    ));
    assert!(refused(
        std::os::unix::net::UnixDatagram::unbound().unwrap().into()
    ));
}

/// Everything that a receiver gives of `bytes`, sent by a raw peer that then goes.
fn received(bytes: &[u8], max_frame: usize) -> (Vec<Frame>, ChannelError) {
    let (left, right) = Channel::pair().unwrap();
    let socket = UnixStream::from(left.into_fd());
    let mut receiver = right.with_max_frame(max_frame).split().1;
    if !bytes.is_empty() {
        raw_send(&socket, bytes, &[]);
    }
    drop(socket);
    let mut frames = Vec::new();
    loop {
        match receiver.recv() {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, error),
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_are_frames_or_an_error_within_the_bound(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
    ) {
        received(&bytes, MAX_FRAME_BYTES);
    }

    #[test]
    fn damaged_frames_cost_no_more_than_the_bound(
        payloads in proptest::collection::vec(0usize..300, 1..8),
        flip in proptest::option::of((proptest::prelude::any::<proptest::sample::Index>(), 0u8..8)),
        cut in proptest::prelude::any::<proptest::sample::Index>(),
    ) {
        const MAX_FRAME: usize = 512;
        let mut bytes = Vec::new();
        for length in &payloads {
            bytes.extend_from_slice(&(*length as u32).to_le_bytes());
            bytes.push(0);
            bytes.resize(bytes.len() + length, 1);
        }
        if let Some((at, bit)) = flip {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let whole = flip.is_none();
        bytes.truncate(if whole { bytes.len() } else { cut.index(bytes.len() + 1) });
        let ((frames, error), peak) = peak_bytes(|| received(&bytes, MAX_FRAME));
        let given: usize = frames.iter().map(|frame| frame.payload.len() + HEADER_BYTES).sum();
        assert!(given <= bytes.len());
        // What is kept are the frames; beside it there is the buffer and one announced frame.
        let bound = READ_BUFFER_BYTES + MAX_FRAME + 2 * given + 4096;
        assert!(peak <= bound, "{peak} over {bound}");
        if whole {
            assert_eq!(frames.len(), payloads.len());
            let at_the_end = ChannelError::Closed { within_frame: false };
            assert_eq!(error.to_string(), at_the_end.to_string());
        }
    }
}
