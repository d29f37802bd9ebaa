"""The forms of the demo: what to look for among customers, and a new lead."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q

from erpnext_bridge.query import ErpQuerySet
from project.erp.models import Lead

STATES = {"active": Q(disabled=False), "disabled": Q(disabled=True)}


class CustomerSearch(forms.Form):
    """The query string of the customers page; what it does not understand narrows nothing."""

    q = forms.CharField(label="Search", required=False, max_length=140, strip=True)
    territory = forms.ChoiceField(required=False)
    group = forms.ChoiceField(required=False)
    state = forms.ChoiceField(
        required=False, choices=[("", "All"), ("active", "Active"), ("disabled", "Disabled")]
    )

    def __init__(self, data: Any, *, territories: list[str], groups: list[str]) -> None:
        super().__init__(data)
        for name, values in (("territory", territories), ("group", groups)):
            choices = [("", "All"), *((value, value) for value in values)]
            self.fields[name].choices = choices  # type: ignore[attr-defined]
        self.fields["q"].widget = forms.TextInput(attrs={"type": "search", "placeholder": "Name or ID"})
        self.is_valid()

    def narrow(self, customers: ErpQuerySet[Any]) -> ErpQuerySet[Any]:
        """Return the customers that are asked for."""
        wanted = self.cleaned_data
        if text := wanted.get("q"):
            customers = customers.filter(Q(customer_name__icontains=text) | Q(name__icontains=text))
        if territory := wanted.get("territory"):
            customers = customers.filter(territory=territory)
        if group := wanted.get("group"):
            customers = customers.filter(customer_group=group)
        return customers.filter(STATES.get(wanted.get("state", ""), Q()))

    @property
    def is_narrowing(self) -> bool:
        return any(self.cleaned_data.values())


class LeadForm(forms.ModelForm):  # type: ignore[type-arg]
    """A document's form is a ModelForm like any other."""

    class Meta:
        model = Lead
        fields = ["first_name", "last_name", "company_name", "email_id", "mobile_no"]
        widgets = {
            "first_name": forms.TextInput(attrs={"autocomplete": "given-name"}),
            "last_name": forms.TextInput(attrs={"autocomplete": "family-name"}),
            "company_name": forms.TextInput(attrs={"autocomplete": "organization"}),
            "email_id": forms.EmailInput(attrs={"autocomplete": "email"}),
            "mobile_no": forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
        }
