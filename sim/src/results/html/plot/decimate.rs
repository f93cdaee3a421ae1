//! Fewer points without losing what matters.

/// A point of a curve: position in seconds (or what the axis is in), and value.
pub(in crate::results::html) type Point = (f64, f64);

/// The indices to keep of a curve: all, if there are few enough; else the first, the last, and the smallest and the
/// largest value of each of `columns` equal parts. Ascending.
pub(in crate::results::html) fn extremes(values: &[f64], columns: usize) -> Vec<usize> {
    let columns = columns.max(1);
    if values.len() <= 2 * columns {
        return (0..values.len()).collect();
    }
    let mut kept = vec![0];
    for column in 0..columns {
        let range = column * values.len() / columns..(column + 1) * values.len() / columns;
        let (mut low, mut high) = (range.start, range.start);
        for index in range {
            if values[index] < values[low] {
                low = index;
            }
            if values[index] > values[high] {
                high = index;
            }
        }
        kept.extend([low.min(high), low.max(high)]);
    }
    kept.push(values.len() - 1);
    kept.dedup();
    kept
}

/// The average of each run of `group` values, and the position of the last of them; for rates, of which the area counts. A value holds since the position
/// before it; the first one for as long as the second.
pub(in crate::results::html) fn averages(points: &[Point], group: usize) -> Vec<Point> {
    let [first, second, ..] = *points else { return points.to_vec() };
    let mut since = 2.0 * first.0 - second.0;
    let average = |points: &[Point]| {
        let (mut area, mut length) = (0.0, 0.0);
        for (position, value) in points {
            area += value * (position - since);
            length += position - since;
            since = *position;
        }
        (since, area / length)
    };
    points.chunks(group.max(1)).map(average).collect()
}

/// The sum of each run of `group` values, and the position of the last of them; for what is counted.
pub(in crate::results::html) fn sums(points: &[Point], group: usize) -> Vec<Point> {
    let sum = |points: &[Point]| (points[points.len() - 1].0, points.iter().map(|(_, value)| value).sum());
    points.chunks(group.max(1)).map(sum).collect()
}

/// The points that have a value, with a gap only where each of a run of `group` has none: as many gaps as points would fill the page, and show nothing.
pub(in crate::results::html) fn bridged(points: &[Point], group: usize) -> Vec<Point> {
    let known = |points: &[Point]| {
        let known: Vec<Point> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
        if known.is_empty() { points[..1].to_vec() } else { known }
    };
    points.chunks(group.max(1)).flat_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_survive() {
        let mut values: Vec<f64> = (0..100_000).map(|index| f64::from(index % 97)).collect();
        values[31_415] = 5000.0;
        values[92_653] = -5000.0;
        let kept = extremes(&values, 300);
        assert!(kept.len() <= 602 && kept.is_sorted_by(|a, b| a < b));
        assert!(kept.contains(&31_415) && kept.contains(&92_653));
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 99_999));
        // Every part keeps its own smallest and largest.
        for column in 0..300 {
            let range = column * 100_000 / 300..(column + 1) * 100_000 / 300;
            let (low, high) = values[range.clone()]
                .iter()
                .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
            let found: Vec<_> = kept.iter().filter(|index| range.contains(index)).map(|index| values[*index]).collect();
            assert!(found.contains(&low) && found.contains(&high));
        }
    }

    #[test]
    fn short_curves_stay_as_they_are() {
        assert_eq!(extremes(&[3.0, 1.0, 2.0], 300), [0, 1, 2]);
        assert!(extremes(&[], 300).is_empty());
    }

    #[test]
    fn short_gaps_are_bridged() {
        let values = [f64::NAN, 1.0, 2.0, f64::NAN, f64::NAN, f64::NAN, 3.0];
        let points: Vec<Point> = (0..).map(f64::from).zip(values).collect();
        let bridged =
            |group| bridged(&points, group).iter().map(|(at, value)| (*at, value.is_nan())).collect::<Vec<_>>();
        assert_eq!(bridged(2), [(1.0, false), (2.0, false), (4.0, true), (6.0, false)]);
        assert_eq!(bridged(1).len(), points.len());
    }

    #[test]
    fn averages_keep_the_area() {
        let points: Vec<Point> = (1..=5).map(|index| (f64::from(index), f64::from(index) * 10.0)).collect();
        assert_eq!(averages(&points, 2), [(2.0, 15.0), (4.0, 35.0), (5.0, 50.0)]);
        assert_eq!(sums(&points, 2), [(2.0, 30.0), (4.0, 70.0), (5.0, 50.0)]);
        // The last interval may be a short one.
        assert_eq!(averages(&[(1.0, 10.0), (2.0, 10.0), (3.0, 10.0), (3.5, 40.0)], 2), [(2.0, 10.0), (3.5, 20.0)]);
    }
}
