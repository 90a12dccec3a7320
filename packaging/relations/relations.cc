#include "relations.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string_view>

namespace berth::packaging {
namespace {

using manifest::Cardinality;

/// Names of packages know no capitals and no underscore.
std::string package_name(const std::string& type, const std::string& id,
                         const std::string& service) {
  std::string name = "berth-" + type;
  if (!id.empty() && id != "*") name += "." + id;
  if (!service.empty()) name += "+" + service;
  for (char& letter : name) {
    letter =
        letter == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return name;
}

/// All four numbers: to Debian, 0.1 is less than 0.1.0.
std::string full_version(const std::string& text) {
  constexpr long kDots = 3;
  std::string out = text;
  for (auto dots = std::count(text.begin(), text.end(), '.'); dots < kDots; ++dots) out += ".0";
  return out;
}

/// One relation for each condition of a range such as ">=0.1, <1".
std::vector<std::string> with_range(const std::string& name, const std::string& range) {
  static const std::map<std::string, std::string> kOperators = {
      {">=", ">="}, {">", ">>"}, {"<=", "<="}, {"<", "<<"}, {"=", "="}};
  std::vector<std::string> out;
  std::string rest = range;
  rest.erase(std::remove(rest.begin(), rest.end(), ' '), rest.end());
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string condition = rest.substr(0, comma);
    rest = comma == std::string::npos ? std::string() : rest.substr(comma + 1);
    const size_t number = condition.find_first_of("0123456789");
    out.push_back(name + " (" + kOperators.at(condition.substr(0, number)) + " " +
                  full_version(condition.substr(number)) + ")");
  }
  if (out.empty()) out.push_back(name);
  return out;
}

std::string without_version(const std::string& relation) {
  return relation.substr(0, relation.find(' '));
}

std::vector<std::string> sorted(const std::set<std::string>& relations) {
  return {relations.begin(), relations.end()};
}

}  // namespace

Relations relations_of(const std::vector<manifest::Manifest>& manifests) {
  std::set<std::string> depends, recommends, suggests, provides, own;
  std::map<std::string, size_t> needed_by;  // plugins
  size_t plugins = 0;
  for (const auto& file : manifests) {
    const std::string major = std::to_string(file.abi_major);
    depends.insert("berth-abi-" + major + " (>= " + major + "." + std::to_string(file.abi_minor) +
                   ")");
    for (const auto& plugin : file.plugins) {
      ++plugins;
      std::vector<std::string> ids = {"", plugin.id};
      ids.insert(ids.end(), plugin.aliases.begin(), plugin.aliases.end());
      std::vector<std::string> services = {""};
      services.insert(services.end(), plugin.provides.begin(), plugin.provides.end());
      for (const std::string& id : ids) {
        for (const std::string& service : services) {
          const std::string name = package_name(plugin.type, id, service);
          own.insert(name);
          provides.insert(name + " (= " + full_version(plugin.version.text()) + ")");
        }
      }
      std::set<std::string> needs;
      for (const auto& requirement : plugin.requires_) {
        if (requirement.order_only) continue;
        const auto relations =
            with_range(package_name(requirement.type, requirement.id, requirement.service),
                       requirement.version.text());
        switch (requirement.cardinality) {
          case Cardinality::kOne:
            needs.insert(relations.begin(), relations.end());
            break;
          case Cardinality::kOptional:
            recommends.insert(relations.begin(), relations.end());
            break;
          case Cardinality::kAll:
            suggests.insert(relations.begin(), relations.end());
            break;
        }
      }
      for (const std::string& relation : needs) ++needed_by[relation];
    }
  }
  for (const auto& [relation, count] : needed_by) {
    (count == plugins ? depends : recommends).insert(relation);
  }
  const auto asked_elsewhere = [&](std::set<std::string>* relations,
                                   const std::vector<const std::set<std::string>*>& stronger) {
    std::erase_if(*relations, [&](const std::string& relation) {
      return own.contains(without_version(relation)) ||
             std::any_of(stronger.begin(), stronger.end(),
                         [&](const auto* other) { return other->contains(relation); });
    });
  };
  asked_elsewhere(&depends, {});
  asked_elsewhere(&recommends, {&depends});
  asked_elsewhere(&suggests, {&depends, &recommends});
  return {sorted(depends), sorted(recommends), sorted(suggests), sorted(provides)};
}

std::string to_substvars(const Relations& relations) {
  std::string out;
  const auto add = [&](const char* name, const std::vector<std::string>& list) {
    out += std::string("berth:") + name + "=";
    for (size_t i = 0; i < list.size(); ++i) out += (i == 0 ? "" : ", ") + list[i];
    out += "\n";
  };
  add("Depends", relations.depends);
  add("Recommends", relations.recommends);
  add("Suggests", relations.suggests);
  add("Provides", relations.provides);
  return out;
}

}  // namespace berth::packaging
