"""The pages of the demo: its own, those of the app, Django's sign-in and admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html"), name="home"),
    path("sign-in/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", auth.LogoutView.as_view(), name="logout"),
    path("erpnext/", include("erpnext_bridge.urls")),
    path("admin/", admin.site.urls),
    path("", include("project.erp.urls")),
]
