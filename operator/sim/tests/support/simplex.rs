//! Solves small linear programs by the book, to check others that are cleverer.

/// The most that `gains · x` can be where `rows · x <= limits`, no `x` is negative, and no limit is.
pub fn most(gains: &[f64], rows: &[Vec<f64>], limits: &[f64]) -> f64 {
    // Each row gets a slack of its own; the last row is what is still to be gained.
    let mut table: Vec<Vec<f64>> = Vec::new();
    for (number, (row, limit)) in rows.iter().zip(limits).enumerate() {
        let slacks = (0..rows.len()).map(|slack| f64::from(u8::from(slack == number)));
        table.push(row.iter().copied().chain(slacks).chain([*limit]).collect());
    }
    let rest = vec![0.0; rows.len() + 1];
    table.push(gains.iter().copied().chain(rest).collect());
    let (last, end) = (rows.len(), gains.len() + rows.len());
    let mut basis: Vec<usize> = (gains.len()..end).collect();
    // The first column that gains, and of its rows the first that limits it: Bland's rule ends.
    while let Some(column) = (0..end).find(|column| table[last][*column] > 1e-9) {
        let limiting = (0..last).filter(|row| table[*row][column] > 1e-9);
        let row = limiting
            .min_by(|one, other| {
                let ratio = |row: usize| table[row][end] / table[row][column];
                ratio(*one).total_cmp(&ratio(*other)).then(basis[*one].cmp(&basis[*other]))
            })
            .expect("what is sold is limited");
        basis[row] = column;
        pivot(&mut table, row, column);
    }
    -table[last][end]
}

fn pivot(table: &mut [Vec<f64>], row: usize, column: usize) {
    let by = table[row][column];
    table[row].iter_mut().for_each(|value| *value /= by);
    let pivot = table[row].clone();
    for (_, other) in table.iter_mut().enumerate().filter(|(other, _)| *other != row) {
        let factor = other[column];
        other.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
    }
}

#[test]
fn it_solves_one_from_the_book() {
    let found =
        most(&[3.0, 5.0], &[vec![1.0, 0.0], vec![0.0, 2.0], vec![3.0, 2.0]], &[4.0, 12.0, 18.0]);
    assert!((found - 36.0).abs() < 1e-9);
}
