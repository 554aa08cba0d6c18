/// Filters that apply another filter or a test to every element.
enum SelectionFilters {
  static let table: [String: TemplateFilters.Filter] = [
    "map": map, "select": selection(keeps: true, byAttribute: false),
    "reject": selection(keeps: false, byAttribute: false),
    "selectattr": selection(keeps: true, byAttribute: true),
    "rejectattr": selection(keeps: false, byAttribute: true),
  ]

  private static let map: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    guard value.isTrue else { return try .iterator([], budget) }
    var result: [TemplateValue] = []
    if arguments.positional.isEmpty, arguments.named.contains(where: { $0.name == "attribute" }) {
      let bound = try arguments.bound(to: ["attribute", "default"], of: "map", budget)
      let path = AttributePath(bound.present(0), default: bound.present(1))
      for element in try evaluator.elements(of: value) {
        result.append(try path.value(of: element, evaluator))
      }
    } else {
      guard let name = arguments.positional.first?.asText?.name else {
        throw budget.failure("map needs the name of a filter")
      }
      var further = arguments
      further.positional.removeFirst()
      for element in try evaluator.elements(of: value) {
        result.append(try evaluator.applyFilter(name, to: element, further))
      }
    }
    return try .iterator(result, budget)
  }

  private static func selection(keeps: Bool, byAttribute: Bool) -> TemplateFilters.Filter {
    { value, arguments, evaluator throws(ChatTemplateError) in
      let budget = evaluator.budget
      guard value.isTrue else { return try .iterator([], budget) }
      var further = arguments
      var path: AttributePath?
      if byAttribute {
        guard let attribute = further.positional.first else {
          throw budget.failure("selectattr and rejectattr need the name of an attribute")
        }
        path = AttributePath(attribute)
        further.positional.removeFirst()
      }
      var test: String?
      if let name = further.positional.first {
        test = name.asText?.name
        if test == nil { throw budget.failure("\(name.kind) is no name of a test") }
        further.positional.removeFirst()
      }
      var result: [TemplateValue] = []
      for element in try evaluator.elements(of: value) {
        try budget.spend(4)
        let candidate = try path?.value(of: element, evaluator) ?? element
        let holds =
          try test.map { (name) throws(ChatTemplateError) in
            try evaluator.applyTest(name, to: candidate, further)
          } ?? candidate.isTrue
        if holds == keeps { result.append(element) }
      }
      return try .iterator(result, budget)
    }
  }
}
