//! A text table: a heading, and columns as wide as their widest cell.

/// Formats rows below their headings. Control characters become `?`.
pub fn table<const N: usize>(
    headings: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let plain = |cell: String| cell.replace(char::is_control, "?");
    let mut all = vec![headings.map(str::to_uppercase)];
    all.extend(rows.map(|row| row.map(plain)));
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.extend(["  ", cell, &" ".repeat(width - cell.chars().count())]);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let rows = [["a", "long"], ["wide\x1b", "b"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(&["one", "two"], rows.into_iter()),
            "  ONE    TWO\n  a      long\n  wide?  b\n"
        );
    }
}
