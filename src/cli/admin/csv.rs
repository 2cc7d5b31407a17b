//! Comma-separated values (RFC 4180) that spreadsheets only read.
//!
//! Names and ids come from visitors and agents. A cell that a spreadsheet would take for a formula gets an
//! apostrophe in front, which such programs show as text; readers that are no spreadsheet see the apostrophe.

/// What a spreadsheet takes for the beginning of a formula, or skips before one.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One row with its line end.
pub(super) fn row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

fn cell(text: &str) -> String {
    let guard = if text.trim_start_matches(' ').starts_with(FORMULA) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (text, wanted) in [
            ("", ""),
            ("plain", "plain"),
            ("Zoë's", "Zoë's"),
            ("a,b", "\"a,b\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("a\r\nb", "\"a\r\nb\""),
            (" a", "\" a\""),
        ] {
            assert_eq!(cell(text), wanted, "{text:?}");
        }
        assert_eq!(row(["a", "b,c", ""]), "a,\"b,c\",\r\n");
    }

    #[test]
    fn nothing_is_a_formula() {
        for (text, wanted) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("  =1", "\"'  =1\""),
            ("=cmd|'/C calc'!A0,x", "\"'=cmd|'/C calc'!A0,x\""),
            ("\r=1", "\"'\r=1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), wanted, "{text:?}");
        }
    }

    /// The cells of a row, as RFC 4180 reads them.
    fn cells(row: &str) -> Vec<String> {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        let mut chars = row.strip_suffix("\r\n").unwrap().chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '"' if !quoted => quoted = true,
                '"' if chars.next_if_eq(&'"').is_none() => quoted = false,
                ',' if !quoted => cells.push(String::new()),
                char => {
                    assert!(quoted || !['\r', '\n'].contains(&char), "{row:?} is more than one row");
                    cells.last_mut().unwrap().push(char);
                }
            }
        }
        assert!(!quoted, "{row:?} does not end");
        cells
    }

    proptest! {
        #[test]
        fn whatever_a_cell_holds_is_read_back_and_is_no_formula(
            texts in prop::collection::vec("[ =+@\t\r\n\"',a-z0-9ö-]{0,12}", 1..4),
        ) {
            let row = row(texts.iter().map(String::as_str));
            let read = cells(&row);
            prop_assert_eq!(read.len(), texts.len());
            for (read, text) in read.iter().zip(&texts) {
                prop_assert!(!read.trim_start_matches(' ').starts_with(FORMULA), "{:?}", row);
                prop_assert!(read == text || read.strip_prefix('\'') == Some(text), "{:?}", row);
            }
        }
    }
}
