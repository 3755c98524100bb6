use crate::js::bench::Echo;

#[tokio::test]
async fn the_benchmarks_script_works() {
    let cache = super::world::cache();
    let echo = Echo::load(Some(&cache)).expect("loaded");
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        cold.push(echo.cold().await.expect("cold"));
        warm.push(echo.warm().await.expect("warm"));
    }
    cold.sort();
    warm.sort();
    println!("cold {:?}, warm {:?}", cold[250], warm[250]);
}
