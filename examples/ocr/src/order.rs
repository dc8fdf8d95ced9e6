//! The order in which the pieces of text on a page are read.

use crate::page::Rect;

/// The lines of a page from top to bottom, each with its pieces from left to right.
///
/// A piece stands on the line of the piece above it if both share more than half of the height of
/// the lower one, with each of its pieces. So a line does not creep down the page from one piece
/// to the next, and a large initial does not draw the lines beside it together.
pub(crate) fn lines(mut pieces: Vec<Rect>) -> Vec<Vec<Rect>> {
    // By twice the middle of their height.
    pieces.sort_by_key(|piece| (piece.top + piece.bottom, piece.left));
    let mut lines: Vec<Vec<Rect>> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.iter().all(|other| beside(piece, *other)) => line.push(piece),
            _ => lines.push(vec![piece]),
        }
    }
    for line in &mut lines {
        line.sort_by_key(|piece| (piece.left, piece.top));
    }
    lines
}

/// Whether two pieces stand on one line.
fn beside(a: Rect, b: Rect) -> bool {
    let shared = a.bottom.min(b.bottom).saturating_sub(a.top.max(b.top));
    2 * shared > a.height().min(b.height())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(left: usize, top: usize, bottom: usize) -> Rect {
        Rect {
            left,
            top,
            right: left + 10,
            bottom,
        }
    }

    fn lefts(pieces: &[Rect]) -> Vec<Vec<usize>> {
        let line = |line: &Vec<Rect>| line.iter().map(|piece| piece.left).collect();
        lines(pieces.to_vec()).iter().map(line).collect()
    }

    #[test]
    fn lines_go_down_and_pieces_to_the_right() {
        let pieces = [
            piece(200, 52, 68),
            piece(100, 10, 30),
            piece(10, 50, 70),
            piece(50, 8, 31),
            piece(5, 90, 110),
        ];
        assert_eq!(lefts(&pieces), [vec![50, 100], vec![10, 200], vec![5]]);
        assert_eq!(lefts(&[]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn low_letters_stand_on_the_line_of_high_ones() {
        // As "ace" beside "Light", and then "y" and a hyphen.
        let pieces = [
            piece(60, 16, 28),
            piece(1, 8, 32),
            piece(90, 15, 33),
            piece(75, 21, 25),
        ];
        assert_eq!(lefts(&pieces), [[1, 60, 75, 90]]);
    }

    #[test]
    fn a_line_does_not_creep_down_and_an_initial_joins_one_line_only() {
        let stairs: Vec<_> = (0..5)
            .map(|step| piece(step * 20, step * 8, step * 8 + 20))
            .collect();
        assert_eq!(lefts(&stairs), [vec![0, 20], vec![40, 60], vec![80]]);
        let initial = [piece(0, 0, 50), piece(20, 0, 20), piece(21, 28, 48)];
        assert_eq!(lefts(&initial), [vec![0, 20], vec![21]]);
    }
}
