//! The formulas of the table: whole numbers, named quantities, + - * / with the usual precedence, no brackets.
//!
//! Invariant: the scripts work out the same numbers (`formula` in `kernel-tuning/parts/table.bash`).

/// What a formula may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantities {
    /// Connections to be held.
    pub connections: i64,
    /// Memory of the machine, KiB.
    pub memory_kib: i64,
    /// One page, KiB.
    pub page_kib: i64,
    /// The hard limit of open files.
    pub open_files: i64,
    /// Descriptors of the node that are no connections.
    pub reserved: i64,
    /// Whether clients speak TLS to the node.
    pub tls: bool,
}

impl Quantities {
    fn named(&self, name: &str) -> Option<i64> {
        Some(match name {
            "connections" => self.connections,
            "memory_kib" => self.memory_kib,
            "page_kib" => self.page_kib,
            "open_files" => self.open_files,
            "reserved" => self.reserved,
            "tls" => self.tls.into(),
            _ => return None,
        })
    }

    /// Works out `text`.
    ///
    /// # Errors
    /// What of it is no formula, or that a number is beyond all bounds.
    pub(super) fn evaluate(&self, text: &str) -> Result<i64, String> {
        let beyond = || format!("{text}: beyond all bounds");
        let mut sum = 0_i64;
        let mut rest = text;
        let mut sign = 1;
        loop {
            let (mut product, mut behind) = self.operand(rest)?;
            let next = loop {
                behind = behind.trim_start();
                let Some(operator) = behind.chars().next() else { break None };
                let after = &behind[operator.len_utf8()..];
                if !matches!(operator, '*' | '/') {
                    break Some((operator, after));
                }
                let (factor, then) = self.operand(after)?;
                product = match operator {
                    '*' => product.checked_mul(factor),
                    _ => product.checked_div(factor),
                }
                .ok_or_else(beyond)?;
                behind = then;
            };
            sum = sum.checked_add(sign * product).ok_or_else(beyond)?;
            (sign, rest) = match next {
                None => return Ok(sum),
                Some(('+', after)) => (1, after),
                Some(('-', after)) => (-1, after),
                Some((other, _)) => return Err(format!("{text}: {other} is no operator")),
            };
        }
    }

    fn operand<'a>(&self, text: &'a str) -> Result<(i64, &'a str), String> {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        match word.parse().ok().or_else(|| self.named(word)) {
            Some(number) => Ok((number, rest)),
            None => Err(format!("{text}: a number or a quantity is missing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_worked_out() {
        let quantities = Quantities {
            connections: 200_000,
            memory_kib: 25_000_000,
            page_kib: 4,
            open_files: 20_000,
            reserved: 1_000,
            tls: false,
        };
        for (text, value) in [
            ("65535", Some(65_535)),
            (" connections + reserved ", Some(201_000)),
            ("connections * 3 / 4", Some(150_000)),
            ("memory_kib / page_kib / 4", Some(1_562_500)),
            ("1 + 2 * 3 - 8 / 3", Some(5)),
            ("connections * tls * 3600 / 1024 + connections / open_files * 253", Some(2_530)),
            ("", None),
            ("connections +", None),
            ("2 2", None),
            ("(1 + 2)", None),
            ("users", None),
            ("1 / tls", None),
            ("9223372036854775807 + 1", None),
        ] {
            assert_eq!(quantities.evaluate(text).ok(), value, "{text:?}");
        }
    }
}
