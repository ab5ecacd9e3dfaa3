//! Functions over a window of values: what `moving_fn` and `moving_avg` compute.
//!
//! An empty window is NaN, but 0 for `sum` and `stdDev`, as Elasticsearch documents it.

/// One of the functions that scripts call as `MovingFunctions.name(values, …)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovingFunction {
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
    /// The sum.
    Sum,
    /// The standard deviation around the given average.
    StandardDeviation,
    /// The mean.
    UnweightedAverage,
    /// Later values count more, in steps.
    LinearWeightedAverage,
    /// Later values count more, exponentially: alpha.
    Ewma,
    /// Level and trend: alpha, beta.
    Holt,
    /// Level, trend and season: alpha, beta, gamma, period, whether the season multiplies.
    HoltWinters,
}

impl MovingFunction {
    /// The function of this name in scripts.
    pub fn from_name(name: &str) -> Option<MovingFunction> {
        Some(match name {
            "max" => MovingFunction::Max,
            "min" => MovingFunction::Min,
            "sum" => MovingFunction::Sum,
            "stdDev" => MovingFunction::StandardDeviation,
            "unweightedAvg" => MovingFunction::UnweightedAverage,
            "linearWeightedAvg" => MovingFunction::LinearWeightedAverage,
            "ewma" => MovingFunction::Ewma,
            "holt" => MovingFunction::Holt,
            "holtWinters" => MovingFunction::HoltWinters,
            _ => return None,
        })
    }

    /// Its value for a window; arguments that are missing are the defaults of Elasticsearch's moving average.
    pub fn apply(self, window: &[f64], arguments: &[f64]) -> f64 {
        let argument = |at: usize, default: f64| arguments.get(at).copied().unwrap_or(default);
        match self {
            MovingFunction::Max => fold(window, f64::max),
            MovingFunction::Min => fold(window, f64::min),
            MovingFunction::Sum => window.iter().sum(),
            MovingFunction::StandardDeviation => {
                standard_deviation(window, argument(0, average(window)))
            }
            MovingFunction::UnweightedAverage => average(window),
            MovingFunction::LinearWeightedAverage => linear(window),
            MovingFunction::Ewma => ewma(window, argument(0, 0.3)),
            MovingFunction::Holt => holt(window, argument(0, 0.3), argument(1, 0.1), 0),
            MovingFunction::HoltWinters => HoltWinters {
                alpha: argument(0, 0.3),
                beta: argument(1, 0.1),
                gamma: argument(2, 0.3),
                period: argument(3, 1.0) as usize,
                is_multiplicative: argument(4, 0.0) != 0.0,
            }
            .forecast(window),
        }
    }
}

fn fold(window: &[f64], choose: impl Fn(f64, f64) -> f64) -> f64 {
    window.iter().copied().reduce(choose).unwrap_or(f64::NAN)
}

fn average(window: &[f64]) -> f64 {
    window.iter().sum::<f64>() / window.len() as f64
}

fn standard_deviation(window: &[f64], average: f64) -> f64 {
    if window.is_empty() || average.is_nan() {
        return 0.0;
    }
    let squares: f64 = window.iter().map(|value| (value - average).powi(2)).sum();
    (squares / window.len() as f64).sqrt()
}

/// The weights are 1, 2, 3 …; their sum starts at 1, which is how Elasticsearch divides.
fn linear(window: &[f64]) -> f64 {
    if window.is_empty() {
        return f64::NAN;
    }
    let mut sum = 0.0;
    let mut weights = 1.0;
    for (at, value) in window.iter().enumerate() {
        let weight = (at + 1) as f64;
        sum += value * weight;
        weights += weight;
    }
    sum / weights
}

fn ewma(window: &[f64], alpha: f64) -> f64 {
    let smooth = |average: f64, value: f64| value * alpha + average * (1.0 - alpha);
    fold(window, smooth)
}

/// Double exponential smoothing; the forecast `steps` ahead.
fn holt(window: &[f64], alpha: f64, beta: f64, steps: usize) -> f64 {
    let Some(first) = window.first() else {
        return f64::NAN;
    };
    let (mut level, mut trend) = (*first, 0.0);
    for (at, value) in window.iter().enumerate().skip(1) {
        if at == 1 {
            (level, trend) = (*value, value - first);
            continue;
        }
        let last_level = level;
        level = alpha * value + (1.0 - alpha) * (level + trend);
        trend = beta * (level - last_level) + (1.0 - beta) * trend;
    }
    level + steps as f64 * trend
}

/// Triple exponential smoothing.
struct HoltWinters {
    alpha: f64,
    beta: f64,
    gamma: f64,
    period: usize,
    is_multiplicative: bool,
}

impl HoltWinters {
    /// The next value; NaN with fewer than two periods to learn from.
    fn forecast(&self, window: &[f64]) -> f64 {
        let period = self.period.max(1);
        if window.len() < period.saturating_mul(2) {
            return f64::NAN;
        }
        // A season that multiplies cannot stand zeros; this is the padding Elasticsearch uses.
        let padding = if self.is_multiplicative { 1e-10 } else { 0.0 };
        let values: Vec<f64> = window.iter().map(|value| value + padding).collect();
        let first = average(&values[..period]);
        let second = average(&values[period..2 * period]);
        let mut level = first;
        let mut trend = (second - first) / period as f64;
        let mut seasons: Vec<f64> = values
            .iter()
            .map(|value| self.season_of(*value, first))
            .collect();
        for at in period..values.len() {
            let season = seasons[at - period];
            let last_level = level;
            let deseasoned = if self.is_multiplicative {
                values[at] / season
            } else {
                values[at] - season
            };
            level = self.alpha * deseasoned + (1.0 - self.alpha) * (level + trend);
            trend = self.beta * (level - last_level) + (1.0 - self.beta) * trend;
            let now = self.season_of(values[at], last_level + trend);
            seasons[at] = self.gamma * now + (1.0 - self.gamma) * season;
        }
        let season = seasons[values.len() - period];
        if self.is_multiplicative {
            (level + trend) * season
        } else {
            level + trend + season
        }
    }

    fn season_of(&self, value: f64, level: f64) -> f64 {
        if self.is_multiplicative {
            value / level
        } else {
            value - level
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(name: &str, window: &[f64], arguments: &[f64]) -> f64 {
        MovingFunction::from_name(name)
            .unwrap()
            .apply(window, arguments)
    }

    #[test]
    fn simple_functions() {
        let window = [2.0, 4.0, 6.0];
        assert_eq!(apply("max", &window, &[]), 6.0);
        assert_eq!(apply("min", &window, &[]), 2.0);
        assert_eq!(apply("sum", &window, &[]), 12.0);
        assert_eq!(apply("unweightedAvg", &window, &[]), 4.0);
        assert_eq!(apply("linearWeightedAvg", &window, &[]), 28.0 / 7.0);
        assert_eq!(apply("ewma", &window, &[0.5]), 4.5);
        assert_eq!(apply("stdDev", &[1.0, 3.0], &[2.0]), 1.0);
        assert_eq!(apply("holt", &[1.0, 2.0, 3.0], &[0.5, 0.5]), 3.0);
    }

    #[test]
    fn an_empty_window_is_no_number_but_sums_to_zero() {
        for name in [
            "max",
            "min",
            "unweightedAvg",
            "linearWeightedAvg",
            "ewma",
            "holt",
            "holtWinters",
        ] {
            assert!(apply(name, &[], &[]).is_nan(), "{name}");
        }
        assert_eq!(apply("sum", &[], &[]), 0.0);
        assert_eq!(apply("stdDev", &[], &[]), 0.0);
    }

    #[test]
    fn a_season_is_continued() {
        let window = [1.0, 5.0, 1.0, 5.0, 1.0, 5.0];
        for multiplicative in [0.0, 1.0] {
            let next = apply(
                "holtWinters",
                &window,
                &[0.5, 0.1, 0.5, 2.0, multiplicative],
            );
            assert!((next - 1.0).abs() < 0.5, "{next}");
        }
    }
}
