/// A scale of colours from dark to bright that stays ordered for every kind of colour vision and in
/// grey: viridis (van der Walt and Smith, 2015), interpolated between ten of its colours.
package enum ColorScale {
  private static let stops: [(red: Double, green: Double, blue: Double)] = [
    (0x44, 0x01, 0x54), (0x48, 0x28, 0x78), (0x3E, 0x49, 0x89), (0x31, 0x68, 0x8E),
    (0x26, 0x82, 0x8E), (0x1F, 0x9E, 0x89), (0x35, 0xB7, 0x79), (0x6E, 0xCE, 0x58),
    (0xB5, 0xDE, 0x2B), (0xFD, 0xE7, 0x25),
  ]

  private static func components(_ value: Double) -> (red: Double, green: Double, blue: Double) {
    let place = min(1, max(0, value.isNaN ? 0 : value)) * Double(stops.count - 1)
    let low = min(stops.count - 2, Int(place))
    let share = place - Double(low)
    let mix = { (from: Double, to: Double) in from + (to - from) * share }
    let (from, to) = (stops[low], stops[low + 1])
    return (mix(from.red, to.red), mix(from.green, to.green), mix(from.blue, to.blue))
  }

  /// The colour of a value from 0 to 1, "#rrggbb".
  package static func color(_ value: Double) -> String {
    let (red, green, blue) = components(value)
    let digits = Array("0123456789abcdef")
    return [red, green, blue].reduce("#") { text, component in
      let byte = Int(component.rounded())
      return text + String(digits[byte >> 4]) + String(digits[byte & 15])
    }
  }

  /// Black or white, whichever is readable on the colour of a value.
  package static func textColor(on value: Double) -> String {
    let (red, green, blue) = components(value)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000000" : "#ffffff"
  }

  /// A bar of the scale, upright, with labels at shares from 0 (bottom) to 1.
  static func drawBar(
    in document: inout SVGDocument, x: Double, y: Double, height: Double, label: String,
    ticks: [(share: Double, label: String)]
  ) {
    let steps = 48
    for step in 0..<steps {
      let share = (Double(step) + 0.5) / Double(steps)
      document.rectangle(
        x: x, y: y + height * (1 - Double(step + 1) / Double(steps)), width: 12,
        height: height / Double(steps) + 0.3, fill: color(share))
    }
    for tick in ticks {
      let place = y + height * (1 - tick.share)
      document.line((x + 12, place), (x + 16, place), class: "axis")
      document.text(tick.label, x: x + 19, y: place + 4, class: "muted small")
    }
    document.text(
      label, x: x + 62, y: y + height / 2, anchor: .middle, class: "muted small", turned: true)
  }
}
