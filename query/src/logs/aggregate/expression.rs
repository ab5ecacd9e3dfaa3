//! Small arithmetic expressions: what scripts of aggregations come down to.
//!
//! ```text
//! params.errors / params.all * 100 > 5 ? 1 : 0
//! MovingFunctions.unweightedAvg(values)
//! ```
//! Numbers are doubles, truth is 1 and 0. There are no loops, assignments or calls into anything else; the
//! expression is a list of steps over a stack, so evaluation is linear in its length.

use super::moving::MovingFunction;

/// Longest expression we read, in bytes. Grafana's are under a hundred.
const LENGTH_MAX: usize = 8 * 1024;
/// How deep parentheses may nest.
const DEPTH_MAX: usize = 64;

/// An expression, ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    steps: Vec<Step>,
    names: Vec<String>,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at position {position} of the script")]
pub struct ExpressionError {
    /// What is wrong.
    pub message: String,
    /// In bytes from its beginning.
    pub position: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Number(f64),
    Name(usize),
    Negate,
    Not,
    Binary(Operator),
    Choose,
    Call(Function, usize),
    Moving(MovingFunction, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Abs,
    Ceil,
    Floor,
    Round,
    Sqrt,
    Cbrt,
    Exp,
    Log,
    Log10,
    Signum,
    Min,
    Max,
    Pow,
}

/// Operators by how tightly they bind, loosest first; longer texts before their beginnings.
const OPERATORS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("===", Operator::Equal),
        ("!==", Operator::Unequal),
        ("==", Operator::Equal),
        ("!=", Operator::Unequal),
    ],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[
        ("*", Operator::Times),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
    ],
];

const FUNCTIONS: [(&str, Function, usize); 13] = [
    ("abs", Function::Abs, 1),
    ("ceil", Function::Ceil, 1),
    ("floor", Function::Floor, 1),
    ("round", Function::Round, 1),
    ("sqrt", Function::Sqrt, 1),
    ("cbrt", Function::Cbrt, 1),
    ("exp", Function::Exp, 1),
    ("log", Function::Log, 1),
    ("log10", Function::Log10, 1),
    ("signum", Function::Signum, 1),
    ("min", Function::Min, 2),
    ("max", Function::Max, 2),
    ("pow", Function::Pow, 2),
];

impl Expression {
    /// Reads an expression. `params` gives names a fixed value; other names are left to [`Expression::evaluate`].
    ///
    /// A name may be written bare, as `params.name` or as `params['name']`.
    ///
    /// # Errors
    /// The text is no expression, too long or nested too deeply, or calls a function that does not exist.
    pub fn parse(source: &str, params: &[(String, f64)]) -> Result<Expression, ExpressionError> {
        let mut parser = Parser {
            source,
            at: 0,
            depth: 0,
            params,
            steps: Vec::new(),
            names: Vec::new(),
        };
        if source.len() > LENGTH_MAX {
            return Err(parser.error(format!("longer than {LENGTH_MAX} bytes")));
        }
        parser.take_word("return");
        parser.expression()?;
        while parser.take(";") {}
        parser.skip_blanks();
        if parser.at < source.len() {
            return Err(parser.error("unexpected text".to_owned()));
        }
        Ok(Expression {
            steps: parser.steps,
            names: parser.names,
        })
    }

    /// The names whose values it needs, each once.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Its value with `_value` set to `value` and every other name unknown (NaN).
    pub fn evaluate_value(&self, value: f64) -> f64 {
        let lookup = |name: &str| (name == "_value").then_some(value);
        self.evaluate(&lookup, &[])
    }

    /// Its value; a name that `lookup` does not know is NaN. `window` is what moving functions look at.
    pub fn evaluate(&self, lookup: &dyn Fn(&str) -> Option<f64>, window: &[f64]) -> f64 {
        let mut stack: Vec<f64> = Vec::with_capacity(8);
        for step in &self.steps {
            let value = match step {
                Step::Number(value) => *value,
                Step::Name(at) => lookup(&self.names[*at]).unwrap_or(f64::NAN),
                Step::Negate => -pop(&mut stack),
                Step::Not => truth(pop(&mut stack) == 0.0),
                Step::Binary(operator) => {
                    let right = pop(&mut stack);
                    operator.apply(pop(&mut stack), right)
                }
                Step::Choose => {
                    let otherwise = pop(&mut stack);
                    let then = pop(&mut stack);
                    if is_true(pop(&mut stack)) {
                        then
                    } else {
                        otherwise
                    }
                }
                Step::Call(function, count) => {
                    let arguments = stack.split_off(stack.len().saturating_sub(*count));
                    function.apply(&arguments)
                }
                Step::Moving(function, count) => {
                    let arguments = stack.split_off(stack.len().saturating_sub(*count));
                    function.apply(window, &arguments)
                }
            };
            stack.push(value);
        }
        pop(&mut stack)
    }
}

fn pop(stack: &mut Vec<f64>) -> f64 {
    stack.pop().unwrap_or(f64::NAN)
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn is_true(value: f64) -> bool {
    value != 0.0 && !value.is_nan()
}

impl Operator {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Operator::Or => truth(is_true(left) || is_true(right)),
            Operator::And => truth(is_true(left) && is_true(right)),
            Operator::Equal => truth(left == right),
            Operator::Unequal => truth(left != right),
            Operator::Less => truth(left < right),
            Operator::LessOrEqual => truth(left <= right),
            Operator::Greater => truth(left > right),
            Operator::GreaterOrEqual => truth(left >= right),
            Operator::Plus => left + right,
            Operator::Minus => left - right,
            Operator::Times => left * right,
            Operator::Divide => left / right,
            Operator::Remainder => left % right,
        }
    }
}

impl Function {
    fn apply(self, arguments: &[f64]) -> f64 {
        let first = arguments.first().copied().unwrap_or(f64::NAN);
        let second = arguments.get(1).copied().unwrap_or(f64::NAN);
        match self {
            Function::Abs => first.abs(),
            Function::Ceil => first.ceil(),
            Function::Floor => first.floor(),
            // Half goes up, also below zero, as Java rounds.
            Function::Round => (first + 0.5).floor(),
            Function::Sqrt => first.sqrt(),
            Function::Cbrt => first.cbrt(),
            Function::Exp => first.exp(),
            Function::Log => first.ln(),
            Function::Log10 => first.log10(),
            Function::Signum if first == 0.0 => 0.0,
            Function::Signum => first.signum(),
            Function::Min if first.is_nan() || second.is_nan() => f64::NAN,
            Function::Min => first.min(second),
            Function::Max if first.is_nan() || second.is_nan() => f64::NAN,
            Function::Max => first.max(second),
            Function::Pow => first.powf(second),
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
    params: &'a [(String, f64)],
    steps: Vec<Step>,
    names: Vec<String>,
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX}")));
        }
        self.binary(0)?;
        if self.take("?") {
            self.expression()?;
            self.expect(":")?;
            self.expression()?;
            self.steps.push(Step::Choose);
        }
        self.depth -= 1;
        Ok(())
    }

    fn binary(&mut self, level: usize) -> Result<(), ExpressionError> {
        let Some(operators) = OPERATORS.get(level) else {
            return self.unary();
        };
        self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(text, _)| self.take(text)) {
            self.binary(level + 1)?;
            self.steps.push(Step::Binary(*operator));
        }
        Ok(())
    }

    fn unary(&mut self) -> Result<(), ExpressionError> {
        let mut pending = Vec::new();
        loop {
            if self.take("-") {
                pending.push(Step::Negate);
            } else if self.take("!") {
                pending.push(Step::Not);
            } else if !self.take("+") {
                break;
            }
        }
        self.operand()?;
        self.steps.extend(pending.into_iter().rev());
        Ok(())
    }

    fn operand(&mut self) -> Result<(), ExpressionError> {
        if self.take("(") {
            self.expression()?;
            return self.expect(")");
        }
        self.skip_blanks();
        match self.rest().bytes().next() {
            Some(b'0'..=b'9' | b'.') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$') => self.name_or_call(),
            Some(_) => Err(self.error("expected a number, a name or a parenthesis".to_owned())),
            None => Err(self.error("the script ends too early".to_owned())),
        }
    }

    fn number(&mut self) -> Result<(), ExpressionError> {
        let rest = self.rest();
        let mut length = digits(rest, 0);
        if rest[length..].starts_with('.') {
            length = digits(rest, length + 1);
        }
        if rest[length..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
            let end = digits(rest, length + 1 + sign);
            if end > length + 1 + sign {
                length = end;
            }
        }
        let Ok(value) = rest[..length].parse::<f64>() else {
            return Err(self.error("not a number".to_owned()));
        };
        self.at += length;
        if self.rest().starts_with(['L', 'l', 'f', 'F', 'd', 'D']) {
            self.at += 1;
        }
        self.steps.push(Step::Number(value));
        Ok(())
    }

    fn name_or_call(&mut self) -> Result<(), ExpressionError> {
        let start = self.at;
        let name = self.dotted_name();
        if self.take("(") {
            return match name.rsplit_once('.') {
                Some(("Math", function)) => self.math_call(function, start),
                Some(("MovingFunctions", function)) => self.moving_call(function, start),
                _ => Err(unknown(&format!("function [{name}]"), start)),
            };
        }
        let name = match name.strip_prefix("params.") {
            Some(param) => param.to_owned(),
            None if name == "params" => self.bracketed_param()?,
            None => name,
        };
        let step = match name.as_str() {
            "true" => Step::Number(1.0),
            "false" => Step::Number(0.0),
            "Math.PI" => Step::Number(std::f64::consts::PI),
            "Math.E" => Step::Number(std::f64::consts::E),
            "doc" | "ctx" | "new" | "def" | "for" | "if" | "while" | "values" => {
                return Err(unknown(&format!("use of [{name}]"), start));
            }
            _ => self.name_step(name),
        };
        self.steps.push(step);
        Ok(())
    }

    fn name_step(&mut self, name: String) -> Step {
        if let Some((_, value)) = self.params.iter().find(|(known, _)| *known == name) {
            return Step::Number(*value);
        }
        let known = self.names.iter().position(|known| *known == name);
        Step::Name(known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        }))
    }

    fn bracketed_param(&mut self) -> Result<String, ExpressionError> {
        self.expect("[")?;
        self.skip_blanks();
        let quote = self
            .rest()
            .chars()
            .next()
            .filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            return Err(self.error("expected a name in quotes".to_owned()));
        };
        self.at += 1;
        let Some(length) = self.rest().find(quote) else {
            return Err(self.error("the quote is not closed".to_owned()));
        };
        let name = self.rest()[..length].to_owned();
        self.at += length + 1;
        self.expect("]")?;
        Ok(name)
    }

    fn math_call(&mut self, name: &str, start: usize) -> Result<(), ExpressionError> {
        let known = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        let Some((_, function, wanted)) = known else {
            return Err(unknown(&format!("function [Math.{name}]"), start));
        };
        let count = self.arguments(false)?;
        if count != *wanted {
            return Err(self.error(format!("Math.{name} takes {wanted} arguments, not {count}")));
        }
        self.steps.push(Step::Call(*function, count));
        Ok(())
    }

    fn moving_call(&mut self, name: &str, start: usize) -> Result<(), ExpressionError> {
        let Some(function) = MovingFunction::from_name(name) else {
            return Err(unknown(
                &format!("function [MovingFunctions.{name}]"),
                start,
            ));
        };
        if !self.take_word("values") {
            return Err(self.error(format!("MovingFunctions.{name} starts with `values`")));
        }
        let count = self.arguments(true)?;
        self.steps.push(Step::Moving(function, count));
        Ok(())
    }

    /// Reads arguments up to the closing parenthesis; answers how many.
    fn arguments(&mut self, mut is_after_one: bool) -> Result<usize, ExpressionError> {
        let mut count = 0;
        loop {
            if self.take(")") {
                return Ok(count);
            }
            if is_after_one {
                self.expect(",")?;
            }
            self.expression()?;
            count += 1;
            is_after_one = true;
        }
    }

    fn dotted_name(&mut self) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
        let rest = self.rest();
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest[..length].to_owned();
        self.at += length;
        name
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, text: &str) -> bool {
        self.skip_blanks();
        let is_there = self.rest().starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    fn take_word(&mut self, word: &str) -> bool {
        let before = self.at;
        let is_whole = self.take(word)
            && !self
                .rest()
                .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if !is_whole {
            self.at = before;
        }
        is_whole
    }

    fn expect(&mut self, text: &str) -> Result<(), ExpressionError> {
        if self.take(text) {
            return Ok(());
        }
        Err(self.error(format!("expected `{text}`")))
    }

    fn error(&self, message: String) -> ExpressionError {
        ExpressionError {
            message,
            position: self.at,
        }
    }
}

fn unknown(what: &str, position: usize) -> ExpressionError {
    ExpressionError {
        message: format!("{what} is not supported; only arithmetic over params is"),
        position,
    }
}

fn digits(text: &str, from: usize) -> usize {
    let rest = &text[from..];
    from + rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(source: &str) -> f64 {
        let params = [("_interval".to_owned(), 60.0)];
        let expression = Expression::parse(source, &params).unwrap();
        let lookup = |name: &str| match name {
            "a" => Some(6.0),
            "b" => Some(4.0),
            _ => None,
        };
        expression.evaluate(&lookup, &[1.0, 2.0, 6.0])
    }

    #[test]
    fn computes_what_dashboards_send() {
        let cases = [
            ("params.a / params.b", 1.5),
            ("a + b * 2 - 1", 13.0),
            ("-(a - b) * -2", 4.0),
            ("params['a'] % params[\"b\"];", 2.0),
            ("return params.a * 1000L / params._interval", 100.0),
            ("5L", 5.0),
            ("1.5e2f", 150.0),
            (".5d + 1", 1.5),
            ("a > b && !(b >= a) ? 10 : 20", 10.0),
            ("a == b || a != 6 ? 1 : a < b ? 2 : 3", 3.0),
            ("Math.max(a, Math.pow(b, 2)) + Math.round(-0.5)", 16.0),
            ("Math.abs(-3) + Math.floor(2.7) + Math.log10(100)", 7.0),
            ("MovingFunctions.unweightedAvg(values)", 3.0),
            (
                "MovingFunctions.max(values) - MovingFunctions.min(values)",
                5.0,
            ),
            ("!0", 1.0),
        ];
        for (source, expected) in cases {
            assert_eq!(value(source), expected, "{source}");
        }
    }

    #[test]
    fn names_are_told_and_unknown_ones_are_not_a_number() {
        let expression = Expression::parse("a + params.c + a", &[]).unwrap();
        assert_eq!(expression.names(), ["a", "c"]);
        assert!(value("a + c").is_nan());
        assert_eq!(
            Expression::parse("_value * 2", &[])
                .unwrap()
                .evaluate_value(4.0),
            8.0
        );
    }

    #[test]
    fn refuses_what_it_cannot_compute() {
        let cases = [
            ("doc['x'].value", "use of [doc] is not supported"),
            ("System.exit(0)", "function [System.exit] is not supported"),
            ("1 +", "the script ends too early"),
            ("1 2", "unexpected text"),
            ("(1", "expected `)`"),
            ("Math.max(1)", "takes 2 arguments, not 1"),
            ("MovingFunctions.max(a)", "starts with `values`"),
            ("def x = 1; x", "is not supported"),
            ("", "the script ends too early"),
        ];
        for (source, message) in cases {
            let error = Expression::parse(source, &[]).unwrap_err().to_string();
            assert!(error.contains(message), "{source}: {error}");
        }
        let deep = "(".repeat(5000);
        assert!(Expression::parse(&deep, &[]).is_err());
        let long = "1+".repeat(LENGTH_MAX);
        assert!(Expression::parse(&long, &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(source in "[-+*/%()?:&|!<>=a-c0-9.eL,; '\\[\\]é]{0,40}") {
            if let Ok(expression) = Expression::parse(&source, &[]) {
                expression.evaluate_value(1.0);
            }
        }
    }
}
