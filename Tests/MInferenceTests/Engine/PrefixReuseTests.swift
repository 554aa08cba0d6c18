import MInference
import Testing

@Suite struct PrefixReuseTests {
  @Test func `a last question and its answer give way to the next one`() {
    #expect(
      PrefixReuse.choose(common: 10_000, held: 10_400, fitsInPlace: true, mayCopy: true) == .rewind)
  }

  @Test func `what another conversation still needs is copied from`() {
    #expect(
      PrefixReuse.choose(common: 10_000, held: 20_000, fitsInPlace: true, mayCopy: true) == .copy)
    #expect(
      PrefixReuse.choose(common: 10_000, held: 10_100, fitsInPlace: false, mayCopy: true) == .copy)
  }

  @Test func `without a copy the shorter part gives way`() {
    #expect(
      PrefixReuse.choose(common: 10_000, held: 20_000, fitsInPlace: true, mayCopy: false)
        == .rewind)
    #expect(
      PrefixReuse.choose(common: 1000, held: 20_000, fitsInPlace: true, mayCopy: false) == .none)
  }

  @Test func `a few tokens in common are worth nothing`() {
    #expect(
      PrefixReuse.choose(common: 10, held: 20_000, fitsInPlace: true, mayCopy: true) == .none)
  }

  @Test func `the shortest reading goes first, and the oldest is never left behind`() {
    var order = ReadingOrder()
    var turns: [Int] = []
    for _ in 0..<8 { turns.append(order.next(remaining: [100_000, 500, 3000]) ?? -1) }
    #expect(turns.filter { $0 == 1 }.count == 6)
    #expect(turns.filter { $0 == 0 }.count == 2)
    #expect(order.next(remaining: []) == nil)
  }
}
