import Compute
import Testing

@Suite struct Float8RowsTests {
  @Test func `a row's largest number takes the format's largest`() {
    let rows = Float8Rows([448, -224, 1, 0, 0.5, 0.25, -0.125, 0.5], width: 4)
    #expect(rows.scales == [1, 0.5 / 448])
    #expect(rows.bits == [0x7E, 0xF6, 0x38, 0x00, 0x7E, 0x76, 0xEE, 0x7E])
    #expect(rows.values[..<4] == [448, -224, 1, 0])
  }

  @Test func `a row of zeros stays zero, beside a row of anything`() {
    let rows = Float8Rows([0, 0, 3, 5], width: 2)
    #expect(rows.scales[0] == 1)
    #expect(rows.values[..<2] == [0, 0])
    #expect(abs(rows.values[3] - 5) < 1e-6)
  }

  @Test func `no number is off by more than a sixteenth of itself, or by half the smallest step`() {
    let numbers = (1...4096).map { Float($0) * 0.37 * ($0 % 2 == 0 ? 1 : -1) }
    for width in [1, 64, 4096] {
      let rows = Float8Rows(numbers, width: width)
      for (place, (number, value)) in zip(numbers, rows.values).enumerated() {
        let smallest = Double(rows.scales[place / width]) * 0x1p-9
        let error = abs(Double(number) - value)
        #expect(error <= max(abs(Double(number)) / 16, smallest / 2) * (1 + 1e-6))
      }
    }
  }
}
