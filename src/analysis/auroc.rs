//! The area under the ROC curve, and what each point has to do with it.

/// By point, how many of the other label lie on the right side of it, as a share, ties by half: below a point of label `true`, above
/// another. The mean over either label is the area under the curve (Mann and Whitney 1947). Panics unless both labels occur.
pub fn placements(scores: &[f64], labels: &[bool]) -> Vec<f64> {
    assert_eq!(scores.len(), labels.len(), "a label a score");
    let positive = labels.iter().filter(|l| **l).count();
    let negative = labels.len() - positive;
    assert!(positive > 0 && negative > 0, "both labels occur");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    let mut out = vec![0.0; scores.len()];
    // Points below the run of equal scores, by label.
    let mut below = [0usize; 2];
    for run in order.chunk_by(|&i, &j| scores[i] == scores[j]) {
        let trues = run.iter().filter(|i| labels[**i]).count();
        let ties = [run.len() - trues, trues];
        for &i in run {
            out[i] = match labels[i] {
                true => (below[0] as f64 + ties[0] as f64 / 2.0) / negative as f64,
                false => 1.0 - (below[1] as f64 + ties[1] as f64 / 2.0) / positive as f64,
            };
        }
        below = [below[0] + ties[0], below[1] + ties[1]];
    }
    out
}

/// The area under the ROC curve of scores that ought to be higher for label `true`. Panics unless both labels occur.
pub fn auroc(scores: &[f64], labels: &[bool]) -> f64 {
    let placed = placements(scores, labels);
    let of_true: Vec<f64> = placed
        .into_iter()
        .zip(labels)
        .filter_map(|(v, label)| label.then_some(v))
        .collect();
    of_true.iter().sum::<f64>() / of_true.len() as f64
}

/// What each point adds to the area: its influence is how far its placement is from the area, times what its label has fewer points than
/// there are. The influences add up to 0, and the variance of their mean is DeLong's of the area (DeLong et al. 1988: the pseudo-values
/// of the jackknife). A label's only point has no influence that could be told.
pub fn influences(scores: &[f64], labels: &[bool]) -> Vec<f64> {
    let placed = placements(scores, labels);
    let area = auroc(scores, labels);
    let n = labels.len() as f64;
    let of = |label: bool| labels.iter().filter(|l| **l == label).count() as f64;
    let counts = [of(false), of(true)];
    let each = placed.into_iter().zip(labels);
    each.map(|(v, label)| match counts[usize::from(*label)] {
        1.0 => 0.0,
        count => (n - 1.0) / (count - 1.0) * (v - area),
    })
    .collect()
}
